"""What is masked whatever the country: addresses, numbers and secrets, as patterns with their checks.

Every quantifier is bounded, so that no text takes more than linear time.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address

from backspan.redact import _checks as checks

Found = dict[str, int]
"""How many of each kind were masked."""

_EMAIL = re.compile(r"(?<![\w.%+-])[\w.%+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63}){1,8}")
_IBAN = re.compile(r"[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?(?![A-Za-z0-9])")
_CARD = re.compile(r"(?<![\w.+])[2-6](?:[ -]?[0-9]){12,18}(?!\w)")
_PHONE = re.compile(
    r"(?<![\w.])(?<![0-9][ .:\-])(?:\+?[0-9]{1,3}[ .\-]?)?(?:\([0-9]{1,5}\)|[0-9]{2,5})(?:[ .\-]?[0-9]{2,5}){1,5}(?!\w)"
)
_IPV4 = re.compile(r"(?<![\w.])(?:[0-9]{1,3}\.){3}[0-9]{1,3}(?![\w.]*\w)")
_IPV6 = re.compile(r"(?<![\w:.])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![\w:])")
_DATE = re.compile(r"\d{4}[ .\-]\d{2}[ .\-]\d{2}|\d{1,2}[ .\-]\d{1,2}[ .\-]\d{4}(?!\d)")
_THOUSANDS = re.compile(r"[1-9]\d{0,2}(?:[ .]\d{3}){1,12}$")

_DASHED = ("sk-", "pk-", "glpat-", "gldt-", "glptt-", "glrt-", "glcbt-", "gloas-", "xox", "xapp-", "GOCSPX-", "pypi-",
           "key-", "xai-", "pplx-", "nvapi-", "-----BEGIN")
_SCORED = ("sk_", "rk_", "whsec_", "ghp_", "gho_", "ghs_", "ghu_", "ghr_", "github_pat_", "hf_", "gsk_", "r8_", "npm_",
           "dop_v1_", "shpat_", "shpss_", "lin_api_", "ntn_")
_OTHER = ("AKIA", "ASIA", "AIza", "ya29.", "eyJ", "SG.", "dapi", "sq0", "AccountKey=", "hooks.slack.com", "://")
_SECRET = re.compile(
    r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]{0,8192}?-----END [A-Z ]{0,30}PRIVATE KEY-----"
    r"|(?<![A-Za-z0-9])(?:"
    r"[sp]k-[A-Za-z0-9_-]{16,200}"  # OpenAI, Anthropic, OpenRouter, DeepSeek, Langfuse
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{16,128}|whsec_[A-Za-z0-9+/=]{24,128}"  # Stripe
    r"|gh[opsur]_[A-Za-z0-9]{20,255}|github_pat_\w{20,255}"
    r"|gl(?:pat|dt|ptt|rt|cbt|oas)-[\w-]{20,255}"  # GitLab
    r"|xox[abeoprs]-[A-Za-z0-9-]{10,255}|xapp-[0-9]-[A-Za-z0-9-]{10,255}"  # Slack
    r"|A(?:KIA|SIA)[0-9A-Z]{16}"  # AWS
    r"|AIza[\w-]{35}|ya29\.[\w-]{20,1024}|GOCSPX-[\w-]{20,64}"  # Google
    r"|hf_[A-Za-z0-9]{20,255}|gsk_[A-Za-z0-9]{20,128}|xai-[A-Za-z0-9]{20,128}|r8_[A-Za-z0-9]{20,128}"
    r"|pplx-[A-Za-z0-9]{20,128}|nvapi-[\w-]{20,128}|dapi[a-f0-9]{32}"  # further providers of models
    r"|npm_[A-Za-z0-9]{30,255}|pypi-[\w-]{50,512}|dop_v1_[a-f0-9]{64}|SG\.[\w-]{16,64}\.[\w-]{16,128}"
    r"|key-[a-f0-9]{32}|shp(?:at|ss)_[a-fA-F0-9]{32}|lin_api_[A-Za-z0-9]{32,64}|ntn_[A-Za-z0-9]{40,64}"
    r"|sq0(?:atp|csp)-[\w-]{22,64}"
    r"|eyJ[\w-]{8,4096}\.[\w-]{8,8192}(?:\.[\w-]{0,2048})?)"
    r"|(?<=AccountKey=)[A-Za-z0-9+/=]{40,128}"  # Azure storage
    r"|(?<=hooks\.slack\.com/services/)T\w{6,16}/B\w{6,16}/\w{16,64}"
    r"|(?<=://)[^\s/:@]{1,128}:[^\s/@]{1,256}(?=@)"
)
_NAMED_MARKS = ("key", "oken", "OKEN", "KEY", "ecret", "ECRET", "assw", "ASSW", "earer ", "Key", "asic ")
_NAMED = re.compile(
    r"(?i)(\b(?:bearer|(?:api[_-]?|access[_-]?|auth[_-]?|secret[_-]?|private[_-]?|client[_-]?)?(?:key|token|secret)"
    r"|password|passwd)(?:[\"']?\s{0,3}[:=]\s{0,3}[\"']?|(?<=bearer)\s)|(?<=authorization: )basic\s)"
    r"([A-Za-z0-9_\-+/.=~!@#$%^&*]{8,4096})"
)
SOURCES = tuple(pattern.pattern for pattern in (
    _EMAIL, _IBAN, _CARD, _PHONE, _IPV4, _IPV6, _DATE, _THOUSANDS, _SECRET, _NAMED))
"""The patterns' text: what the policy's version is made of."""


def secrets(text: str, found: Found) -> str:
    """Mask keys, tokens and passwords."""
    # `in` costs a fiftieth of a regular expression's search, and most texts hold none of it.
    if _any(_OTHER, text) or ("-" in text and _any(_DASHED, text)) or ("_" in text and _any(_SCORED, text)):
        text = _counted(_SECRET, "secret", text, found)
    if _any(_NAMED_MARKS, text):
        text, times = _NAMED.subn(r"\1[secret]", text)
        _count("secret", times, found)
    return text


def emails(text: str, found: Found) -> str:
    """Mask e-mail addresses."""
    return _counted(_EMAIL, "email", text, found) if "@" in text else text


def accounts(text: str, found: Found) -> str:
    """Mask bank accounts and payment cards."""
    return _checked(_CARD, "card", checks.luhn, _checked(_IBAN, "iban", _is_iban, text, found), found)


def numbers(text: str, found: Found) -> str:
    """Mask IPv4 addresses and phone numbers, in this order: both are groups of digits."""
    return _checked(_PHONE, "phone", _is_phone, _checked(_IPV4, "ip", _is_ip, text, found), found)


def long_addresses(text: str, found: Found) -> str:
    """Mask IPv6 addresses."""
    return _checked(_IPV6, "ip", _is_ip, text, found) if "::" in text or text.count(":") >= 7 else text


def _any(marks: tuple[str, ...], text: str) -> bool:
    return any(mark in text for mark in marks)


def _count(kind: str, times: int, found: Found) -> None:
    if times:
        found[kind] = found.get(kind, 0) + times


def _counted(pattern: re.Pattern[str], kind: str, text: str, found: Found) -> str:
    text, times = pattern.subn(f"[{kind}]", text)
    _count(kind, times, found)
    return text


def _checked(pattern: re.Pattern[str], kind: str, check: Callable[[str], bool], text: str, found: Found) -> str:
    def masked(match: re.Match[str]) -> str:
        if not check(match[0]):
            return match[0]
        _count(kind, 1, found)
        return f"[{kind}]"

    return pattern.sub(masked, text)


def _is_iban(said: str) -> bool:
    return checks.iban(said.replace(" ", ""))


def _is_ip(said: str) -> bool:
    try:
        ip_address(said)
    except ValueError:
        return False
    return True


def _is_phone(said: str) -> bool:
    count = sum(sign.isdigit() for sign in said)
    breaks = len(re.findall(r"[ .()\-]+", said))
    if not 9 <= count <= 15 or _DATE.match(said) or _THOUSANDS.match(said):
        return False
    return said[0] == "+" or breaks >= 2
