"""What is active: our patterns, the countries asked for, Presidio, and the rules of installed packages."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points

from backspan._guard import guard
from backspan.config import settings
from backspan.redact import LOST, REDACTED, _national, _patterns

GROUP = "backspan.redactors"
"""Entry points of this group are functions that take a text and return it masked."""
_MOST_ROUNDS = 8
_NUMBERS = re.compile(r"[+0-9][0-9A-Z ().\-+/]{5,46}[0-9A-Z]")
Counts = tuple[tuple[str, int], ...]


class Policy:
    """What the settings and the installed packages ask for, read once.

    A rule is loaded with the first text. If it cannot be, it fails, text by text: that is no reason to let pass what it
    was installed for.
    """

    def __init__(self) -> None:
        self._national = _national.National(_national.chosen(settings().redact_ids))
        self._rules = sorted(entry_points(group=GROUP), key=_name)
        self._loaded: dict[str, Callable[[str], str]] = {}
        self._presidio, self._presidio_version = _presidio(settings().redact_presidio)

    def mask(self, text: str, found: dict[str, int]) -> str:
        """``text`` with what our own patterns recognise masked, counted in ``found``.

        What stands right behind something that was masked may only now be recognised, so it is done until nothing
        changes. A text that takes many rounds is made of secrets without a gap, and goes as a whole.
        """
        for _ in range(_MOST_ROUNDS):
            masked = self._once(text, found)
            if masked == text:
                return text
            text = masked
        found[LOST] = found.get(LOST, 0) + 1
        return REDACTED

    def _once(self, text: str, found: dict[str, int]) -> str:
        text = _patterns.emails(_patterns.secrets(text, found), found)
        if _NUMBERS.search(text):
            text = self._national.mask(_patterns.accounts(text, found), found)
            text = _patterns.numbers(text, found)
        return _patterns.long_addresses(text, found)

    def examine(self, text: str) -> tuple[str, Counts] | None:
        """``text`` masked by everything but the hook, and the counts by kind; None if a rule failed."""
        found: dict[str, int] = {}
        said: str | None = self.mask(text, found)
        if self._presidio is not None:
            said = _kept("presidio", self._presidio, said, found)
        for point in self._rules:
            if said is not None:
                said = self._applied(point, said, found)
        if said is None:
            return None
        return said, tuple(sorted(found.items())) if found else ()

    def _applied(self, point: EntryPoint, text: str, found: dict[str, int]) -> str | None:
        def rule(text: str, found: dict[str, int]) -> str:
            if point.name not in self._loaded:
                self._loaded[point.name] = point.load()
            return self._loaded[point.name](text)

        said = _kept(point.name, rule, text, found)
        if said is not None and said != text:
            found[point.name] = found.get(point.name, 0) + 1
        return said

    def version(self, hook: Callable[[str], str] | None) -> str:
        """Twelve hex digits over the patterns, countries, Presidio, rules and the hook's name."""
        parts = [*_patterns.SOURCES, *(repr((one.kind, one.forms, one.named)) for one in self._national.ids),
                 self._presidio_version, *(_source(point) for point in self._rules),
                 "" if hook is None else _called(hook)]
        return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]


def _kept(name: str, rule: Callable[[str, dict[str, int]], object], text: str, found: dict[str, int]) -> str | None:
    """What ``rule`` makes of ``text``; None if it raised, or returned no text."""
    said: object = None
    with guard(f"redact.{name}"):
        said = rule(text, found)  # `guard` swallows and counts
    return said if isinstance(said, str) else None


def _called(hook: Callable[[str], str]) -> str:
    kind = type(hook)
    return f"{getattr(hook, '__module__', kind.__module__)}.{getattr(hook, '__qualname__', kind.__qualname__)}"


def _name(point: EntryPoint) -> str:
    return point.name


def _source(point: EntryPoint) -> str:
    return f"{point.name} {point.value} {point.dist.version if point.dist else ''}"


def _presidio(asked: str) -> tuple[Callable[[str, dict[str, int]], str] | None, str]:
    if not asked:
        return None, ""
    from backspan.redact import _presidio as presidio

    return presidio.load(asked)
