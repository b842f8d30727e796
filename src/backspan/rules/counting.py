"""PromQL that counts: how many events are new in each raw series since the previous evaluation, exactly.

What each part guards against, because it is easy to lose in an edit:

- *Counting* compares a snapshot (``seen``) with the snapshot before (``prev``). ``increase()`` would lose the first
  event of a series and everything that happens while Prometheus is down, and is not an integer.
- *One read of the counter.* ``inc`` works on the snapshot, not on the counter again: a sample that arrives between two
  rules would otherwise be taken for seen without having been counted.
- *Order under concurrent-rule-eval.* Rules that depend on no other rule of the group run first, so every rule that must
  not do so names the rule it has to wait for; ``or prev < 0`` is always empty and only there for that.
- *Freshness.* Increments, and what they are taken from, are read with `fresh`. A plain selector looks back five
  minutes and would count a batch again at every evaluation after a restart, or after a rule that failed. Reading
  ``seen`` plainly is safe: if it is old, so is ``prev``, and nothing is counted.
- *Counter resets* count the value after the reset and what was scraped before it since the last evaluation, no
  further back: a second reset must not count the first one's growth again. With ``or prev`` a sample that came late,
  so that the interval holds none, is a reset too.
- *A new series* counts from 0 only if it was seen at 0, which then is its ``prev``; one that appears with a past has
  no ``inc`` at first.

A selected series costs about as much as thirty samples read, so each expression names as few selectors as it can.
"""

from __future__ import annotations

from backspan.rules import series
from backspan.rules._node import write_duration
from backspan.rules.indicators import Events
from backspan.rules.spec import Spec

NEW_SERIES = 600
"""Seconds. A series not known before counts from 0 if it was at 0 within this time."""
_MOMENT = "500ms"
"""Shorter than any interval: reads what this very evaluation recorded, in Prometheus 2 and 3 alike."""

Rule = tuple[str, str]
"""Name of the recorded series, and its expression."""


def counting(spec: Spec, name: str, events: Events, prefix: str = "") -> list[Rule]:
    """Rules that record ``spc:<name>:<prefix>prev``, ``seen`` and ``inc`` for every raw series of ``events``.

    ``inc`` is what is new since the previous evaluation; read it with `fresh`.
    """
    counter = events.selector
    prev, seen, inc = (series.raw(name, f"{prefix}{kind}") for kind in ("prev", "seen", "inc"))
    recent, interval = write_duration(NEW_SERIES), write_duration(spec.interval)
    before = (
        f"last_over_time({seen}[{write_duration(spec.lookback)}])\n"
        f"or min_over_time({counter}[{recent}]) == 0"
    )
    increase = (
        f"({seen} - {fresh(prev)}) >= 0\n"
        f"or ({seen} < {prev}) - {prev} + (max_over_time({counter}[{interval}]) > {prev} or {prev})"
    )
    return [
        (prev, before),
        (seen, f"{counter} or {prev} < 0"),
        (inc, increase),
    ]


def fresh(selector: str) -> str:
    """What this very evaluation recorded."""
    return f"last_over_time({selector}[{_MOMENT}])"


def label(expression: str, name: str, value: str) -> str:
    """``expression`` with a label set."""
    return f'label_replace({expression}, "{name}", "{value}", "", "")'


def number(value: float) -> str:
    """Shortest PromQL literal that reads back as the same double."""
    return repr(int(value)) if value == int(value) and abs(value) < 1e15 else repr(float(value))


def short_of(seconds: float) -> str:
    """A range over recorded series, half a second short: Prometheus 2 includes the left end, 3 does not."""
    return write_duration(seconds - 0.5)


def indent(text: str) -> str:
    """``text`` with the lines after the first moved in."""
    return text.replace("\n", "\n  ")
