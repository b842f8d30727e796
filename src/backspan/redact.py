"""Masking of personal data and secrets in text, before it reaches a span or the store.

Masked: e-mail addresses, phone numbers, payment cards (Luhn), IBANs (mod 97), IP addresses, API keys and tokens. Each
is replaced by its kind in brackets, such as ``[email]``. Masking twice gives the same as masking once. It is a safety
net made of patterns, not an anonymiser: names and addresses pass.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address
from typing import TypeVar

from backspan._guard import guarded

REDACTED = "[redacted]"
"""What stands for a text that the application's own redactor could not handle."""
_CACHED_CHARACTERS = 8192
_Hook = TypeVar("_Hook", bound=Callable[[str], str])

# Every quantifier is bounded, so that no text takes more than linear time.
_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_DIGITS = re.compile(r"[+0-9][0-9A-Z ().\-]{5,46}[0-9A-Z]")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\w.+])[2-6](?:[ -]?[0-9]){12,18}(?!\w)")
_PHONE = re.compile(
    r"(?<![\w.])(?<![0-9][ .:\-])(?:\+?[0-9]{1,3}[ .\-]?)?(?:\([0-9]{1,5}\)|[0-9]{2,5})(?:[ .\-]?[0-9]{2,5}){1,5}(?!\w)"
)
_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.]*\w)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_DATE = re.compile(r"\d{4}[ .\-]\d{2}[ .\-]\d{2}|\d{1,2}[ .\-]\d{1,2}[ .\-]\d{4}(?!\d)")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:[ .]\d{3})+$")
_SECRET_MARKS = ("sk-", "pk-", "gh", "xox", "AKIA", "ASIA", "AIza", "eyJ", "hf_", "glpat-", "npm_", "-----BEGIN", "://")
_SECRET = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]{0,8192}?-----END [A-Z ]{0,30}PRIVATE KEY-----"
    r"|(?<![A-Za-z0-9])(?:[sp]k-[A-Za-z0-9_-]{16,200}|gh[opsur]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255}"
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,255}|A(?:KIA|SIA)[0-9A-Z]{16}|AIza[\w-]{35}|hf_[A-Za-z0-9]{20,255}"
    r"|glpat-[\w-]{20,255}|npm_[A-Za-z0-9]{30,255}"
    r"|eyJ[\w-]{8,4096}\.[\w-]{8,8192}(?:\.[\w-]{0,2048})?)"
    r"|(?<=://)[^\s/:@]{1,128}:[^\s/@]{1,256}(?=@)"
)
_NAMED_MARKS = ("key", "oken", "OKEN", "KEY", "ecret", "ECRET", "assw", "ASSW", "earer ")
_NAMED = re.compile(
    r"(?i)(\b(?:bearer|(?:api[_-]?|access[_-]?|auth[_-]?|secret[_-]?)?(?:key|token|secret)|password|passwd)"
    r"(?:[\"']?\s{0,3}[:=]\s{0,3}[\"']?|(?<=bearer)\s))([A-Za-z0-9_\-+/.=~!@#$%^&*]{8,4096})"
)


def redact(text: str) -> str:
    """Return ``text`` with personal data and secrets masked, then passed through the hook set by `redactor`.

    A hook that raises, or returns anything but a string, makes the whole text ``[redacted]``; the fault is counted.
    """
    masked = _remembered(text) if len(text) <= _CACHED_CHARACTERS else mask(text)
    if _hook is None:
        return masked
    said = _by_hook(masked)
    return said if isinstance(said, str) else REDACTED


def redactor(function: _Hook | None) -> _Hook | None:
    """Set the application's own masking, run after ours on every text that leaves; None removes it. A decorator too."""
    global _hook
    _hook = function
    return function


_hook: Callable[[str], str] | None = None


@guarded
def _by_hook(text: str) -> str:
    assert _hook is not None
    return _hook(text)


def mask(text: str) -> str:
    """Return ``text`` with what the module's patterns recognise masked; no hook, no cache."""
    # `in` costs a fiftieth of a regular expression's search, and most texts hold none of it.
    if any(mark in text for mark in _SECRET_MARKS):
        text = _SECRET.sub("[secret]", text)
    if any(mark in text for mark in _NAMED_MARKS):
        text = _NAMED.sub(_named, text)
    if "@" in text:
        text = _EMAIL.sub("[email]", text)
    if _DIGITS.search(text):
        text = _PHONE.sub(_phone, _IPV4.sub(_ip, _CARD.sub(_card, _IBAN.sub(_iban, text))))
    if "::" in text or text.count(":") >= 7:
        text = _IPV6.sub(_ip, text)
    return text


# Conversations are sent again with every turn: what was masked a moment ago is looked up.
_remembered = lru_cache(maxsize=256)(mask)


def _named(match: re.Match[str]) -> str:
    return f"{match[1]}[secret]"


def _iban(match: re.Match[str]) -> str:
    plain = match[0].replace(" ", "")
    rearranged = plain[4:] + plain[:4]
    number = int("".join(str(int(sign, 36)) for sign in rearranged))
    return "[iban]" if 15 <= len(plain) <= 34 and number % 97 == 1 else match[0]


def _card(match: re.Match[str]) -> str:
    digits = [int(sign) for sign in match[0] if sign.isdigit()]
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return "[card]" if (sum(doubled) + sum(digits[-1::-2])) % 10 == 0 else match[0]


def _ip(match: re.Match[str]) -> str:
    try:
        ip_address(match[0])
    except ValueError:
        return match[0]
    return "[ip]"


def _phone(match: re.Match[str]) -> str:
    said = match[0]
    digits = sum(sign.isdigit() for sign in said)
    breaks = len(re.findall(r"[ .()\-]+", said))
    if not 9 <= digits <= 15 or _DATE.match(said) or _THOUSANDS.match(said):
        return said
    return "[phone]" if said[0] == "+" or breaks >= 2 else said
