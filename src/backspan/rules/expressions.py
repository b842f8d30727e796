"""PromQL of one chart: the recording rules, in the order in which they must run.

What each part guards against, because it is easy to lose in an edit:

- *Counting* compares a snapshot (``seen``) with the snapshot before (``prev``). ``increase()`` would lose the first
  event of a series and everything that happens while Prometheus is down, and is not an integer.
- *One read of the counter.* ``inc`` works on the snapshot, not on the counter again: a sample that arrives between two
  rules would otherwise be taken for seen without having been counted.
- *Order under concurrent-rule-eval.* Rules that depend on no other rule of the group run first, so every rule that must
  not do so names the rule it has to wait for; ``or prev < 0`` is always empty and only there for that.
- *Freshness.* Increments, and what they are taken from, are read with `_fresh`. A plain selector looks back five
  minutes and would count a batch again at every evaluation after a restart, or after a rule that failed. Reading
  ``seen`` plainly is safe: if it is old, so is ``prev``, and nothing is counted.
- *Counter resets* count the value after the reset and what was scraped before it since the last evaluation, no
  further back: a second reset must not count the first one's growth again. The plain ``seen < prev`` is for a sample
  that came late, so that the interval holds none.
- *A new series* counts from 0 only if it was seen at 0; one that appears with a past has no ``inc`` at first.
- *State* is read with ``last_over_time`` and carried forward while nobody rates; a cohort without a rating for
  ``forget_after`` is dropped, so that retired prompt versions do not pile up.
- *Bounds*: clamped above (recovery) and below (``ln(0)``).
- *Ranges over recorded series* are half a second short of the window: Prometheus 2 includes the left end, 3 does not.
"""

from __future__ import annotations

from math import log

from backspan.rules import series
from backspan.rules._node import write_duration
from backspan.rules.indicators import matchers
from backspan.rules.spec import Chart, Partition, Spec
from backspan.spc.pchart import WIDTH
from backspan.spc.shiryaev import FLOOR, P_MAX

NEW_SERIES = 600
"""Seconds. A series not known before counts from 0 if it was at 0 within this time."""
_MOMENT = "500ms"
"""Shorter than any interval: reads what this very evaluation recorded, in Prometheus 2 and 3 alike."""

Rule = tuple[str, str]
"""Name of the recorded series, and its expression."""


def recording_rules(spec: Spec, chart: Chart) -> list[Rule]:
    """All recording rules of ``chart``, in the order in which they must run."""
    return [
        *_counting(spec, chart),
        *_batches(chart),
        *_window(chart),
        (series.LLR, _llr(chart)),
        *_state(spec, chart),
        *_panel(chart),
    ]


def alarm(chart: Chart) -> str:
    """The condition of the alert: enough evidence, and the cohort still rated within ``idle_after``."""
    rated, sr = _select(series.RATED_AT, chart), _select(series.SR, chart)
    return f"{sr} >= {number(chart.limit)}\nand {rated} > time() - {chart.idle_after}"


def number(value: float) -> str:
    """Shortest PromQL literal that reads back as the same double."""
    return repr(int(value)) if value == int(value) else repr(value)


def _select(name: str, chart: Chart) -> str:
    return f'{name}{{{series.CHART}="{chart.name}"}}'


def _fresh(selector: str) -> str:
    return f"last_over_time({selector}[{_MOMENT}])"


def _raw(chart: Chart, kind: str) -> str:
    return series.raw(chart.name, kind)


def _counting(spec: Spec, chart: Chart) -> list[Rule]:
    counter = chart.watched.prom_total
    prev, seen, inc = (_raw(chart, kind) for kind in ("prev", "seen", "inc"))
    recent, interval = write_duration(NEW_SERIES), write_duration(spec.interval)
    increase = (
        f"({seen} - {_fresh(prev)}) >= 0\n"
        f"or ({seen} < {prev}) + clamp_min(max_over_time({counter}[{interval}]) - {prev}, 0)\n"
        f"or {seen} < {prev}\n"
        f"or ({seen} unless {prev}) and min_over_time({counter}[{recent}]) == 0"
    )
    return [
        (prev, f"last_over_time({seen}[{write_duration(spec.lookback)}])"),
        (seen, f"{counter} or {prev} < 0"),
        (inc, increase),
    ]


def _batches(chart: Chart) -> list[Rule]:
    inc = _raw(chart, "inc")
    bad = f"{inc}{{{matchers(chart.watched.bad)}}}"
    rated = _fresh(_select(series.N, chart))
    return [
        (series.N, "\nor ".join(f"{_total(chart, p, inc)} > 0" for p in chart.partitions)),
        (
            series.BAD,
            f"(\n  {_indent(_any(chart, bad))}\n)\nand {rated}\nor {rated} * 0",
        ),
    ]


def _any(chart: Chart, selector: str) -> str:
    return "\nor ".join(_total(chart, p, selector) for p in chart.partitions)


def _total(chart: Chart, partition: Partition, selector: str) -> str:
    total = f"sum by ({', '.join(partition.labels)}) ({_fresh(selector)})"
    return _label(_label(total, series.CHART, chart.name), series.PARTITION, partition.name)


def _label(expression: str, label: str, value: str) -> str:
    return f'label_replace({expression}, "{label}", "{value}", "", "")'


def _window(chart: Chart) -> list[Rule]:
    reach = write_duration(chart.window - 0.5)
    window_n = _select(series.WINDOW_N, chart)
    return [
        (series.WINDOW_N, f"sum_over_time({_select(series.N, chart)}[{reach}])"),
        (series.WINDOW_BAD, f"sum_over_time({_select(series.BAD, chart)}[{reach}])"),
        (series.P0, f"{window_n} * 0 + {number(chart.baseline.p0)}"),
    ]


def _llr(chart: Chart) -> str:
    return "\nor ".join(_label(_llr_of(chart, r), series.ALT, number(r)) for r in chart.alternatives)


def _llr_of(chart: Chart, ratio: float) -> str:
    n, bad = _fresh(_select(series.N, chart)), _fresh(_select(series.BAD, chart))
    p0 = _select(series.P0, chart)
    if ratio * chart.baseline.p0 < P_MAX:
        worse, better = number(log(ratio)), f"ln((1 - {number(ratio)} * {p0}) / (1 - {p0}))"
    else:
        worse, better = f"ln({number(P_MAX)} / {p0})", f"ln({number(1 - P_MAX)} / (1 - {p0}))"
    return f"{worse} * {bad} + {better} * ({n} - {bad})"


def _state(spec: Spec, chart: Chart) -> list[Rule]:
    lookback, alt = write_duration(spec.lookback), series.ALT
    rated = f"last_over_time({_select(series.RATED_AT, chart)}[{lookback}]) > time() - {chart.forget_after}"
    n, llr = _fresh(_select(series.N, chart)), _fresh(_select(series.LLR, chart))
    weight, before = f"{n} / {chart.n_ref}", _select(series.SR_PREV, chart)
    step = (
        f"(ln(exp({before}) + ignoring ({alt}) group_left {weight}) + {llr})\n"
        f"  or (ln({weight}) + ignoring ({alt}) group_right {llr})\n"
        f"  or {before}"
    )
    state = _select(series.SR_ALT, chart)
    return [
        (series.SR_PREV, f"last_over_time({state}[{lookback}])\nand ignoring ({alt}) {rated}"),
        (series.RATED_AT, f"{n} * 0 + time()\nor {rated}"),
        (series.SR_ALT, f"clamp(\n  {step},\n  {number(FLOOR)}, {number(chart.cap)})"),
        (series.SR, f"ln(avg without ({alt}) (exp({state})))"),
    ]


def _panel(chart: Chart) -> list[Rule]:
    n, bad = _select(series.WINDOW_N, chart), _select(series.WINDOW_BAD, chart)
    p0, sr = _select(series.P0, chart), _select(series.SR, chart)
    half = f"{number(WIDTH)} * sqrt({p0} * (1 - {p0}) / {n})"
    return [
        (series.SR_LIMIT, f"{sr} * 0 + {number(chart.limit)}"),
        (series.RATE, f"{bad} / {n}"),
        (series.UCL, f"clamp_max({p0} + {half}, 1)"),
        (series.LCL, f"clamp_min({p0} - {half}, 0)"),
    ]


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")
