"""Masking of personal data and secrets in text, before it reaches a span or the store.

Masked: e-mail addresses, phone numbers, payment cards (Luhn), IBANs (mod 97), IP addresses, API keys and tokens, and
national ids of the countries that ``BACKSPAN_REDACT_IDS`` asks for. Each is replaced by its kind in brackets, such as
``[email]``. Masking twice gives the same as masking once. It is a safety net made of patterns, not an anonymiser: names
and addresses pass, unless Presidio (the extra ``pii``) has a model for them.

After ours come Presidio, the rules of installed packages (entry points of the group ``backspan.redactors``) and the
application's own hook, in this order. Whichever of them fails takes the text with it: ``[redacted]``.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, TypeVar

from backspan._guard import guarded

if TYPE_CHECKING:
    from backspan.redact._policy import Policy

REDACTED = "[redacted]"
"""What stands for a text that a rule could not handle."""
LOST = "redacted"
"""The kind under which such a text is counted."""
_CACHED_CHARACTERS = 8192
Counts = tuple[tuple[str, int], ...]
"""Kind and number of what was masked, sorted by kind."""
_Hook = TypeVar("_Hook", bound=Callable[[str], str])

_hook: Callable[[str], str] | None = None
_in_force: Policy | None = None
_version: str | None = None


def redact(text: str) -> str:
    """Return ``text`` with personal data and secrets masked by all that is active.

    A rule or a hook that raises, or returns anything but a string, makes the whole text ``[redacted]``; the fault is
    counted.
    """
    return examine(text)[0]


def examine(text: str) -> tuple[str, Counts]:
    """As `redact`, and how many of each kind were masked."""
    result = _remembered(text) if len(text) <= _CACHED_CHARACTERS else _by_rules(text)
    return result if _hook is None else _hooked(*result)


def redactor(function: _Hook | None) -> _Hook | None:
    """Set the application's own masking, run after ours on every text that leaves; None removes it. A decorator too."""
    global _hook, _version
    _hook, _version = function, None
    return function


def hooked() -> bool:
    """Tell whether the application has set a hook: what it returns is not to be remembered."""
    return _hook is not None


def policy() -> str:
    """The version of what is active: equal as long as the same text is masked the same way."""
    global _version
    if _version is None:
        _version = _active().version(_hook)
    return _version


def reload() -> None:
    """Read the settings again and forget what was masked, for tests and for ``backspan.auto``."""
    global _in_force, _version
    _in_force = _version = None
    _remembered.cache_clear()


def mask(text: str) -> str:
    """Return ``text`` with what our own patterns recognise masked; no rules of others, no hook, no cache."""
    return _active().mask(text, {})


def _active() -> Policy:
    global _in_force
    if _in_force is None:
        from backspan.redact._policy import Policy  # patterns cost milliseconds: only a process with content has them

        _in_force = Policy()
    return _in_force


def _by_rules(text: str) -> tuple[str, Counts]:
    return _examined(text) or (REDACTED, ((LOST, 1),))


@guarded
def _examined(text: str) -> tuple[str, Counts] | None:
    return _active().examine(text)


# Conversations are sent again with every turn: what was masked a moment ago is looked up.
_remembered = lru_cache(maxsize=256)(_by_rules)


def _hooked(masked: str, counts: Counts) -> tuple[str, Counts]:
    said = _by_hook(masked)
    if not isinstance(said, str):
        return REDACTED, ((LOST, 1),)
    return said, counts


@guarded
def _by_hook(text: str) -> str:
    assert _hook is not None
    return _hook(text)
