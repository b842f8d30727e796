"""Why a window out of limits does not belong to the baseline: flags, a file, or the person at the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import yaml

from backspan.cli._spc.errors import Fault
from backspan.cli._spc.history import Cohort, Window, matches, named
from backspan.cli._spc.http import mapping
from backspan.cli._spc.times import instant, stamp
from backspan.rules.spec import Chart
from backspan.spc.points import Limits

_MOST = 300


@dataclass
class Exclusion:
    """A reason for the window that holds ``start``, and for those that begin before ``end``."""

    start: float
    end: float
    reason: str
    chart: str = ""
    cohort: dict[str, str] = field(default_factory=dict[str, str])
    used: bool = False

    def covers(self, chart: Chart, cohort: Cohort, window: Window) -> bool:
        """Tell whether it speaks of this window."""
        here = self.chart in ("", chart.name) and matches(cohort, self.cohort)
        holds = window.start <= self.start < window.start + chart.window
        return here and (holds or self.start <= window.start < self.end)


def flag(text: str) -> Exclusion:
    """``START=REASON`` or ``START..END=REASON``. Raises `Fault`."""
    when, equals, reason = text.partition("=")
    if not equals or not reason.strip():
        raise Fault(f"--exclude: {text!r} gives no reason; write START=REASON, such as 2026-11-20T03:00Z=index empty")
    return _exclusion(when, reason, f"--exclude: {text!r}")


def _exclusion(when: str, reason: str, place: str) -> Exclusion:
    first, dots, last = when.partition("..")
    start = instant(first)
    end = instant(last) if dots else start
    if start is None or end is None or end < start:
        raise Fault(f"{place}: {when!r} is no moment nor START..END; write 2026-11-20T03:00Z")
    return Exclusion(start, end, " ".join(reason.split())[:_MOST])


def file(path: Path) -> list[Exclusion]:
    """A YAML list of ``{start, end?, reason, chart?, cohort?: {key: value}}``. Raises `Fault` that says which entry."""
    try:
        document: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"--reasons: {error}") from None
    except yaml.YAMLError as error:
        raise Fault(f"--reasons: {path} is not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(document, list):
        raise Fault(f"--reasons: {path} must be a list of {{start: ..., reason: ...}}")
    return [_entry(entry, f"--reasons: {path}, entry {i}") for i, entry in enumerate(cast("list[Any]", document), 1)]


def _entry(entry: object, place: str) -> Exclusion:
    said = mapping(entry)
    unknown = set(said) - {"start", "end", "reason", "chart", "cohort"}
    if not said.get("reason") or "start" not in said or unknown:
        raise Fault(f"{place}: needs start and reason; end, chart and cohort may be said")
    when = "..".join(_text(said[key]) for key in ("start", "end") if key in said)
    found = _exclusion(when, str(said["reason"]), place)
    if said.get("cohort") and not mapping(said["cohort"]):
        raise Fault(f"{place}: cohort must be a mapping of keys to values")
    found.chart = str(said.get("chart") or "")
    found.cohort = {str(key): str(value) for key, value in mapping(said.get("cohort")).items()}
    return found


def _text(value: Any) -> str:
    """YAML reads a timestamp as a datetime, or as a date."""
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


class Reasons:
    """Answers why a window is out of limits. ``ask``: put the question to the person at the terminal."""

    def __init__(self, given: list[Exclusion], ask: bool) -> None:
        self._given, self._ask = given, ask
        self._answers: dict[float, str] = {}

    def for_cohort(self, chart: Chart, cohort: Cohort) -> Callable[[Window, Limits], str]:
        """The reason giver of one cohort."""
        return lambda window, limits: self._reason(chart, cohort, window, limits)

    def _reason(self, chart: Chart, cohort: Cohort, window: Window, limits: Limits) -> str:
        for exclusion in self._given:
            if exclusion.covers(chart, cohort, window):
                exclusion.used = True
                return exclusion.reason
        return self._asked(cohort, window, limits) if self._ask else ""

    def _asked(self, cohort: Cohort, window: Window, limits: Limits) -> str:
        before = self._answers.get(window.start, "")
        print(
            f"{named(cohort)}\n  {stamp(window.start)}: {window.bad:g} of {window.n:g} ({window.rate:.1%}), limits"
            f" {limits.lower:.1%} to {limits.upper:.1%}", file=sys.stderr)
        hint = f"a reason to leave it out [{before}]; - : it stays" if before else \
            "a reason to leave it out; nothing: it stays"
        sys.stderr.write(f"  {hint}: ")
        sys.stderr.flush()
        said = " ".join(sys.stdin.readline().split())[:_MOST]
        answer = "" if said == "-" else said or before
        self._answers[window.start] = answer
        return answer

    def unused(self) -> list[Exclusion]:
        """What was given and met no window out of limits."""
        return [exclusion for exclusion in self._given if not exclusion.used]
