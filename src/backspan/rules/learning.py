"""PromQL that learns a baseline: sums of closed windows, what they come to, and the rate that then stands.

The formulas are those of `backspan.spc.baseline`. A window closes at the first evaluation after a multiple of its
length; then, and only then, these rules record anything, so that reading a week of them is cheap. A cohort that is not
rated for ``forget_after`` is forgotten because its sums are then out of reach.

A parent (such as a prompt over all its versions) learns from the windows of its cohorts, without those in alarm.
"""

from __future__ import annotations

from backspan.rules import series
from backspan.rules.counting import Rule, fresh, indent, label, number, short_of
from backspan.rules.selectors import parent_labels, parent_of, placed, select, set_by_hand, stat, variance
from backspan.rules.spec import Chart, Partition, Spec
from backspan.spc.baseline import P_MIN, R1_MAX
from backspan.spc.shiryaev import P_MAX

_LAGGED = ("lag_xx", "lag_nx", "lag_nn")
_Z95 = 1.6448536269514722


def closing(spec: Spec, chart: Chart) -> str:
    """One element at the evaluation that closes a window, none at the others."""
    return f"(vector(time() % {chart.window}) < {spec.interval})"


def rules(spec: Spec, chart: Chart) -> list[Rule]:
    """The rules that learn, in their order; none where the baseline is given."""
    if not chart.baseline.learnt:
        return []
    return [
        (series.CLOSE_N, _closed(spec, chart)),
        (series.POINT_N, _point_n(spec, chart)),
        (series.POINT_BAD, _point_bad(chart)),
        (series.STEP, _step(chart)),
        (series.LEARN, _learn(chart)),
        *_fit(chart),
        (series.FROZEN, _frozen(chart)),
    ]


def standing(chart: Chart) -> list[Rule]:
    """The baselines that stand before this evaluation; to be recorded before anything that reads them."""
    if not chart.baseline.learnt:
        return []
    return [(series.FROZEN_PREV, f"last_over_time({select(series.FROZEN, chart)}[{_memory(chart)}])")]


def own(chart: Chart, name: str, partition: str | None = None) -> str:
    """A cohort's own learnt ``p0`` or ``phi``."""
    selected = select(series.FROZEN_PREV, chart, partition=partition, stat=name)
    return f"max without ({series.STAT}) ({fresh(selected)})"


def parent_value(chart: Chart, partition: Partition, name: str, override: str) -> str:
    """``p0`` or ``phi`` of the parents of ``partition``: what a person set (``override``), else what they learnt."""
    parent = parent_of(partition).name
    return f"{set_by_hand(chart, override, parent)}\nor {own(chart, name, parent)}"


def running_p0(chart: Chart) -> str:
    """The accepted rate so far, for drawing while a cohort learns."""
    n, x = (_last(chart, value) for value in ("n", "x"))
    p = f"(({x} + 0.5) / ({n} + 1))"
    return _tolerated(chart, p, f"{variance(chart, p)} / {n}")


def _memory(chart: Chart) -> str:
    return short_of(chart.forget_after)


def _last(chart: Chart, value: str) -> str:
    return stat(series.LEARN, value, chart, f"last_over_time({{}}[{_memory(chart)}])")


def _tolerated(chart: Chart, p: str, variance: str) -> str:
    if chart.model.falls:
        return f"clamp_min({p} - sqrt({variance}), {number(P_MIN)})"
    if chart.model.family == "poisson":
        return f"{p} + sqrt({variance})"
    return f"clamp_max({p} + sqrt({variance}), {number(0.999 * P_MAX)})"


# --- windows --------------------------------------------------------------------------------------------------------
def _closed(spec: Spec, chart: Chart) -> str:
    """Cohorts and parents that were rated in the window that ends now."""
    parts = [f"({fresh(select(series.WINDOW_N, chart))} > 0)"]
    for p in chart.partitions:
        if p.parent:
            child = fresh(select(series.WINDOW_N, chart, partition=p.name))
            parts.append(_of_parent(chart, p, f"{child} > 0"))
    text = "\nor ".join(parts)
    return f"(\n  {indent(text)}\n)\nand on () {closing(spec, chart)}"


def _of_parent(chart: Chart, partition: Partition, expression: str) -> str:
    return placed(chart, parent_of(partition).name, f"sum by ({parent_labels(partition)}) ({expression})")


def _alarming(chart: Chart, partition: str | None = None) -> str:
    sr, limit = (fresh(select(name, chart, partition=partition)) for name in (series.SR, series.SR_LIMIT))
    return f"({sr} >= {limit})"


def _calm(chart: Chart, name: str) -> list[str]:
    """``name`` of the window for the cohorts that do not alarm, and its sum for the parents."""
    parts = [f"{fresh(select(name, chart))} unless {_alarming(chart)}"]
    for p in chart.partitions:
        if p.parent:
            child = f"{fresh(select(name, chart, partition=p.name))} unless {_alarming(chart, p.name)}"
            parts.append(_of_parent(chart, p, child))
    return parts


def _point_n(spec: Spec, chart: Chart) -> str:
    text = "\nor ".join(_calm(chart, series.WINDOW_N))
    return f"(\n  {indent(text)}\n) > 0\nand {fresh(select(series.CLOSE_N, chart))}\nunless {own(chart, 'p0')}"


def _point_bad(chart: Chart) -> str:
    text = "\nor ".join(_calm(chart, series.WINDOW_BAD))
    return f"(\n  {indent(text)}\n)\nand {fresh(select(series.POINT_N, chart))}"


# --- sums -----------------------------------------------------------------------------------------------------------
def _step(chart: Chart) -> str:
    """What the window adds to each sum; where there is no neighbour, the lagged ones get nothing."""
    n, x = fresh(select(series.POINT_N, chart)), fresh(select(series.POINT_BAD, chart))
    last_n, last_x = _last(chart, "last_n"), _last(chart, "last_x")
    root = f"sqrt({n} * {last_n})"
    sums = {
        "windows": f"{n} * 0 + 1", "n": n, "x": x, "xx": f"{x} * {x} / {n}",
        "lag_xx": f"{x} * {last_x} / {root}", "lag_nx": f"({last_n} * {x} + {n} * {last_x}) / {root}", "lag_nn": root,
        "last_n": n, "last_x": x,
    }
    return "\nor ".join(
        label(f"({expr} or {n} * 0)" if name in _LAGGED else expr, series.STAT, name) for name, expr in sums.items())


def _learn(chart: Chart) -> str:
    step, added = select(series.STEP, chart), select(series.STEP, chart, f'{series.STAT}!~"last_."')
    before = f"last_over_time({select(series.LEARN, chart)}[{_memory(chart)}])"
    return f"{fresh(added)} + {before}\nor {fresh(step)}"


# --- what they come to ----------------------------------------------------------------------------------------------
def _fit(chart: Chart) -> list[Rule]:
    """Four statistics, one after the other; the first is only there when there is enough to freeze."""
    base = chart.baseline
    k, n, x, xx, lag_xx, lag_nx, lag_nn = (
        stat(series.LEARN, name, chart, "last_over_time({}[500ms])")
        for name in ("windows", "n", "x", "xx", *_LAGGED))
    p, sd2, r1 = (fresh(select(name, chart)) for name in (series.FIT_P, series.FIT_SD2, series.FIT_R1))
    v = variance(chart, p)
    squares = f"(clamp_min({xx} - 2 * {p} * {x} + {p} * {p} * {n}, 0) / {v})"
    lagged = f"(({lag_xx} - {p} * {lag_nx} + {p} * {p} * {lag_nn}) / {v})"
    enough = f"{n} >= {base.ratings} and {k} >= {base.windows}"
    a = f"(2 / (9 * ({k} - 1)))"
    chi = f"((1 - {a} + {number(_Z95)} * sqrt({a})) ^ 3)"
    spread = f"({sd2} > {chi} or clamp_max({sd2}, 1))"
    r = f"(clamp_max({r1} > 2 / sqrt({k}), {number(R1_MAX)}) or {p} * 0)"
    return [
        (series.FIT_P, f"({x} + 0.5) / ({n} + 1) and {enough}"),
        (series.FIT_SD2, f"{squares} / ({k} - 1)"),
        (series.FIT_R1, f"{lagged} / {squares}"),
        (series.FIT_PHI, f"clamp_min({spread} * (1 + {r}) / (1 - {r}), 1)"),
    ]


def _frozen(chart: Chart) -> str:
    """Keep what stands while the cohort is rated; else freeze what the sums have come to."""
    p, phi = (fresh(select(name, chart)) for name in (series.FIT_P, series.FIT_PHI))
    n = stat(series.LEARN, "n", chart, "last_over_time({}[500ms])")
    rate = _tolerated(chart, p, f"{phi} * {variance(chart, p)} / {n}")
    rated = fresh(select(series.CLOSE_N, chart))
    stands = f"{fresh(select(series.FROZEN_PREV, chart))} and ignoring ({series.STAT}) {rated}"
    return "\nor ".join([
        stands,
        *(label(_no_worse(chart, partition, rate), series.STAT, "p0") for partition in _bounded(chart)),
        label(rate, series.STAT, "p0"),
        label(phi, series.STAT, "phi"),
    ])


def _bounded(chart: Chart) -> list[Partition]:
    return [partition for partition in chart.partitions if partition.parent]


def _no_worse(chart: Chart, partition: Partition, rate: str) -> str:
    """The learnt rate of the cohorts whose parent's stands, or the parent's if that is the better one."""
    parent = f"(\n  {indent(parent_value(chart, partition, 'p0', series.BASELINE_P0))}\n)"
    mine = f"({rate} and on ({series.PARTITION}) {label('vector(1)', series.PARTITION, partition.name)})"
    match, worse = f"on ({parent_labels(partition)}) group_left ()", "<" if chart.model.falls else ">"
    return f"({mine} {worse} {match} {parent}) * 0 + {match} {parent}"
