"""PromQL of one chart: the recording rules, in the order in which they must run.

`backspan.rules.counting` says how events are counted, `backspan.rules.learning` how a baseline is learnt. Here is what
makes the pager and the panel. Beside what is said there:

- *State* is read with ``last_over_time`` and carried forward while nobody rates; a cohort without a rating for
  ``forget_after`` is dropped, so that retired prompt versions do not pile up.
- *State is read cheaply*: the last minutes as they are, and the hours before from copies kept every ten minutes. After
  an outage of more than `RECENT` the evidence of ten minutes at most is lost.
- *Before and after.* A rule that needs the state before this evaluation stands before the rule that records it.
  ``against_prev`` is read before ``rated_at`` is brought up to date: a cohort that comes back starts anew.
- *A changed baseline* ends the evidence against the old one: each state says against which rate it is (``against``),
  and ``sr_prev`` is empty unless that is the accepted rate still.
- *Bounds*: clamped above (recovery) and below (``ln(0)``).
- *Ranges over recorded series* are half a second short of the window: Prometheus 2 includes the left end, 3 does not.
"""

from __future__ import annotations

from math import log

from backspan.rules import learning, series
from backspan.rules._node import write_duration
from backspan.rules.counting import Rule, counting, fresh, indent, label, number, short_of
from backspan.rules.selectors import any_of, inc, parent_labels, select, set_by_hand, variance
from backspan.rules.spec import Chart, Partition, Spec
from backspan.rules.tickets import ticket_rules
from backspan.spc.pchart import WIDTH
from backspan.spc.phases import ALARM, FROZEN, GIVEN, INHERITED, LEARNING
from backspan.spc.shiryaev import CAP_ABOVE_LIMIT, FLOOR, P_MAX

RECENT = 600
"""Seconds over which state is read as it was recorded."""
KEPT, KEEP_EVERY = 6 * 3600, 600
"""Seconds over which copies of the state are read, and between two copies."""
VOLUME_DAYS = 7
"""Days over which the volume is averaged that turns a promise in days into one in events."""


def recording_rules(spec: Spec, chart: Chart) -> list[Rule]:
    """All recording rules of ``chart``, in the order in which they must run."""
    return [*pager_rules(spec, chart), *_panel(chart), *learning.rules(spec, chart), *ticket_rules(spec, chart)]


def pager_rules(spec: Spec, chart: Chart) -> list[Rule]:
    """The recording rules behind the pager: counting, the accepted rate and the evidence against it."""
    watched = chart.watched
    beside = [] if watched.nested else counting(spec, chart.name, watched.counted, "event_")
    return [
        *counting(spec, chart.name, watched.total),
        *beside,
        (series.N, _n(chart)),
        (series.BAD, _bad(chart)),
        (series.WINDOW_N, _in_window(chart, series.N)),
        *_promise(spec, chart),
        *_baseline(chart),
        *_state(spec, chart),
    ]


def alarm(chart: Chart) -> str:
    """The condition of the alert: enough evidence, and the cohort still rated within ``idle_after``."""
    rated, over = select(series.RATED_AT, chart), _over(chart)
    return f"{over}\nand {rated} > time() - {chart.idle_after}"


def _over(chart: Chart) -> str:
    limit = number(chart.limit) if chart.promise.events else select(series.SR_LIMIT, chart)
    return f"{select(series.SR, chart)} >= {limit}"


# --- counting by cohort ---------------------------------------------------------------------------------------------
def _n(chart: Chart) -> str:
    total = [f"{part} > 0" for part in any_of(chart, inc(chart))]
    if chart.watched.kind == "rate":  # an event may come after the exposure it belongs to
        total += [f"({part} > 0) * 0" for part in any_of(chart, inc(chart, "event_"))]
    return "\nor ".join(total)


def _bad(chart: Chart) -> str:
    watched, n = chart.watched, fresh(select(series.N, chart))
    events = f"{inc(chart)}{{{watched.counted.matchers}}}" if watched.nested else inc(chart, "event_")
    by_cohort = "\nor ".join(any_of(chart, events))
    counted = f"(\n  {indent(by_cohort)}\n)\nand {n}\nor {n} * 0"
    if watched.kind == "rate" or watched.nested:
        return counted
    rest = f"clamp_min({n} - (\n  {indent(counted)}\n), 0)"
    return rest if watched.good is not None else f"{n} - {rest}"  # never more bad ones than there are


def _in_window(chart: Chart, name: str) -> str:
    return f"sum_over_time({select(name, chart)}[{short_of(chart.window)}])"


# --- the promise ----------------------------------------------------------------------------------------------------
def _promise(spec: Spec, chart: Chart) -> list[Rule]:
    """A promise in days follows the volume: the mean of the windows of a week."""
    if chart.promise.events:
        return [(series.PROMISE, label(f"vector({chart.promise.events})", series.CHART, chart.name))]
    first = fresh(select(series.WINDOW_N, chart, partition=chart.partitions[0].name))
    total = label(f"(sum({first}) or vector(0))", series.CHART, chart.name)
    volume = f"{total}\nand on () {learning.closing(spec, chart)}"
    mean = f"avg_over_time({select(series.VOLUME, chart)}[{short_of(VOLUME_DAYS * 86400)}])"
    per_day = number((chart.promise.days or 0.0) * 86400 / chart.window)
    least = chart.promise.in_events(0.0)
    none = label(f"vector({number(least)})", series.CHART, chart.name)
    return [
        (series.VOLUME, volume),
        (series.PROMISE, f"clamp_min({per_day} * {mean}, {number(least)})\nor {none}"),
    ]


def _cap(chart: Chart) -> str:
    if chart.promise.events:
        return number(chart.cap)
    return f"scalar({_limit(chart)}) + {number(CAP_ABOVE_LIMIT)}"


def _limit(chart: Chart) -> str:
    """ln R of the limit as a vector with the chart's label alone."""
    factor = number(len(chart.partitions) / chart.n_ref)
    return f"ln({factor} * {select(series.PROMISE, chart)})"


# --- the accepted rate ----------------------------------------------------------------------------------------------
def _baseline(chart: Chart) -> list[Rule]:
    known = f"{_remembered(chart, series.RATED_AT)} > time() - {chart.forget_after}"
    rated = select(series.RATED_AT, chart)
    return [
        *learning.standing(chart),
        (series.AGAINST_PREV, f"{_remembered(chart, series.AGAINST)}\nand {known}"),
        (series.RATED_AT, f"{fresh(select(series.N, chart))} * 0 + time()\nor {known}"),
        (series.SR_P0, _effective(chart, "p0", series.BASELINE_P0, chart.baseline.p0)),
        (series.PHI, f"{_effective(chart, 'phi', series.BASELINE_PHI, chart.baseline.phi)}\nor {rated} * 0 + 1"),
    ]


def _effective(chart: Chart, name: str, override: str, given: float) -> str:
    """What a person set, else what is given, else the cohort's own, else its parent's."""
    rated = select(series.RATED_AT, chart)
    parts = [f"{set_by_hand(chart, override)} and {rated}"]
    if not chart.baseline.learnt:
        parts.append(f"{rated} * 0 + {number(given)}")
    else:
        parts.append(f"{learning.own(chart, name)} and {rated}")
        parts += [_inherited(chart, p, name, override) for p in chart.partitions if p.parent]
    return "\nor ".join(parts)


def _inherited(chart: Chart, partition: Partition, name: str, override: str) -> str:
    child = select(series.RATED_AT, chart, partition=partition.name)
    passed_on = learning.parent_value(chart, partition, name, override)
    return f"{child} * 0 + on ({parent_labels(partition)}) group_left () (\n  {indent(passed_on)}\n)"


# --- the evidence ---------------------------------------------------------------------------------------------------
def _remembered(chart: Chart, name: str) -> str:
    """The last value of a state, from before this evaluation."""
    recent = f"last_over_time({select(name, chart)}[{write_duration(RECENT)}])"
    return f"({recent} or {_kept(chart, name)})"


def _kept(chart: Chart, name: str) -> str:
    selector = select(series.KEPT, chart, state=name)
    return label(f"last_over_time({selector}[{short_of(KEPT)}])", series.STATE, "")


def _keep(spec: Spec, chart: Chart) -> str:
    now = f"(vector(time() % {KEEP_EVERY}) < {spec.interval})"
    states = (series.SR_ALT, series.AGAINST, series.RATED_AT)
    copies = "\nor ".join(label(fresh(select(name, chart)), series.STATE, name) for name in states)
    return f"(\n  {indent(copies)}\n)\nand on () {now}"


def _step(chart: Chart, ratio: float) -> str:
    """ln R of one alternative after this evaluation's events, for the cohorts that have any."""
    r = number(ratio)
    before = fresh(select(series.SR_PREV, chart, alt=r))
    weight = f"{fresh(select(series.N, chart))} / {chart.n_ref}"
    grown = f"(ln(exp({before}) + ignoring ({series.ALT}) {weight}) or ln({weight}))"
    return label(f"{grown} + {_llr(chart, ratio)} / {select(series.PHI, chart)}", series.ALT, r)


def _llr(chart: Chart, ratio: float) -> str:
    """ln of the likelihood ratio of this evaluation's events, without the dispersion."""
    n, bad = fresh(select(series.N, chart)), fresh(select(series.BAD, chart))
    p0, r, gain = select(series.SR_P0, chart), number(ratio), number(log(ratio))
    if chart.model.family == "poisson":
        sign, apart = ("-", 1 - 1 / ratio) if chart.model.falls else ("", 1 - ratio)
        return f"({sign}{gain} * {bad} + {number(apart)} * {p0} * {n})"
    if chart.model.falls:
        return f"(-{gain} * {bad} + ln((1 - {p0} / {r}) / (1 - {p0})) * ({n} - {bad}))"
    p1 = f"clamp_max({r} * {p0}, {number(P_MAX)})"
    return f"(ln({p1} / {p0}) * {bad} + ln((1 - {p1}) / (1 - {p0})) * ({n} - {bad}))"


def _state(spec: Spec, chart: Chart) -> list[Rule]:
    alt, state = series.ALT, select(series.SR_ALT, chart)
    same = f"({fresh(select(series.AGAINST_PREV, chart))} == {fresh(select(series.SR_P0, chart))})"
    steps = "\n  or ".join(indent(_step(chart, ratio)) for ratio in chart.alternatives)
    carried = fresh(select(series.SR_PREV, chart))
    sr, watched = fresh(select(series.SR, chart)), fresh(select(series.SR_P0, chart))
    return [
        (series.SR_PREV, f"{_remembered(chart, series.SR_ALT)}\nand ignoring ({alt}) {same}"),
        (series.SR_ALT, f"clamp(\n  {steps}\n  or {carried},\n  {number(FLOOR)}, {_cap(chart)})"),
        (series.SR, f"ln(avg without ({alt}) (exp({fresh(state)})))"),
        (series.AGAINST, f"{watched} and {sr}"),
        (series.SR_LIMIT, _limit_by_cohort(chart)),
        (series.KEPT, _keep(spec, chart)),
    ]


def _limit_by_cohort(chart: Chart) -> str:
    sr = fresh(select(series.SR, chart))
    if chart.promise.events:
        return f"{sr} * 0 + {number(chart.limit)}"
    return f"{sr} * 0 + on ({series.CHART}) group_left () {_limit(chart)}"


# --- the panel ------------------------------------------------------------------------------------------------------
def _panel(chart: Chart) -> list[Rule]:
    n, bad = fresh(select(series.WINDOW_N, chart)), fresh(select(series.WINDOW_BAD, chart))
    p0, phi = fresh(select(series.P0, chart)), fresh(select(series.PHI, chart))
    poisson = chart.model.family == "poisson"
    half = f"{number(WIDTH)} * sqrt({phi} * {variance(chart, p0)} / ({n} > 0))"
    upper = f"{p0} + {half}" if poisson else f"clamp_max({p0} + {half}, 1)"
    return [
        (series.WINDOW_BAD, _in_window(chart, series.BAD)),
        (series.P0, _centre(chart)),
        (series.RATE, f"{bad} / ({n} > 0)"),
        (series.UCL, upper),
        (series.LCL, f"clamp_min({p0} - {half}, 0)"),
        (series.PHASE_SERIES, _phase(chart)),
    ]


def _centre(chart: Chart) -> str:
    """The accepted rate; while a cohort learns with nothing to inherit, what it has come to so far."""
    watched = fresh(select(series.SR_P0, chart))
    if not chart.baseline.learnt:
        return watched
    return f"{watched}\nor (\n  {indent(learning.running_p0(chart))}\n)\nand {select(series.RATED_AT, chart)}"


def _phase(chart: Chart) -> str:
    rated = select(series.RATED_AT, chart)
    by_hand = f"max without ({series.REASON}) ({select(series.BASELINE_P0, chart)})"
    alarming = f"{fresh(select(series.SR, chart))} >= {fresh(select(series.SR_LIMIT, chart))}"
    parts = [
        label(f"({alarming}) * 0 + 1", series.PHASE, ALARM),
        f"({by_hand} and ignoring ({series.PHASE}) {rated}) * 0 + 1",
    ]
    if not chart.baseline.learnt:
        parts.append(label(f"{rated} * 0 + 1", series.PHASE, GIVEN))
    else:
        parts += [
            label(f"({learning.own(chart, 'p0')} and {rated}) * 0 + 1", series.PHASE, FROZEN),
            label(f"{fresh(select(series.SR_P0, chart))} * 0 + 1", series.PHASE, INHERITED),
            label(f"{rated} * 0 + 1", series.PHASE, LEARNING),
        ]
    return f"\nor ignoring ({series.PHASE}) ".join(parts)
