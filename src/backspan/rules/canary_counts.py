"""Counting the events of a canary: those of every arm and, beside each variant, those of the control since then."""

from __future__ import annotations

from backspan.rules import series
from backspan.rules._node import write_duration
from backspan.rules.canary_kinds import SETTLE, clustered, either, names, settles, watched
from backspan.rules.canary_series import CANARY, VARIANT, by_arm, equal, own, select, stat
from backspan.rules.counting import Rule, counting, indent, label
from backspan.rules.indicators import Indicator
from backspan.rules.spec import Canary, Spec


def recording(spec: Spec, canary: Canary) -> list[Rule]:
    """The rules up to ``spc:canary_sum``, in the order in which they must run."""
    return [*_counts(spec, canary), *_arms(spec, canary)]


def of_control(canary: Canary) -> str:
    """Matcher of the control."""
    return equal(VARIANT, canary.control)


def of_variants(canary: Canary) -> str:
    """Matcher of everything but the control."""
    return equal(VARIANT, canary.control, "!=")


def _counts(spec: Spec, canary: Canary) -> list[Rule]:
    """New events of every arm. The raw series are ``spc:<canary>:<indicator>_inc`` and ``..._event_inc``."""
    rules: list[Rule] = []
    parts: list[str] = []
    for name in canary.indicators:
        one = watched(canary, name)
        rules += counting(spec, canary.name, one.total, f"{name}_")
        rules += [] if one.nested else counting(spec, canary.name, one.counted, f"{name}_event_")
        n, bad = _arrived(canary, one)
        parts += [f"({_placed(n, name, 'n')} > 0)", f"({_placed(bad, name, 'bad')} > 0)"]
    return [*rules, ("spc:canary_arrived", label(f"(\n  {indent(either(parts))}\n)", CANARY, canary.name))]


def _placed(expression: str, indicator: str, which: str) -> str:
    return label(label(expression, series.INDICATOR, indicator), series.STAT, which)


def _arrived(canary: Canary, one: Indicator) -> tuple[str, str]:
    """New events of an indicator by arm, and new bad ones."""
    inc = series.raw(canary.name, f"{one.name}_inc")
    n, event = by_arm(canary, inc), series.raw(canary.name, f"{one.name}_event_inc")
    if one.nested:
        return n, by_arm(canary, f"{inc}{{{one.counted.matchers}}}")
    beside = by_arm(canary, event)
    return n, beside if one.good is None else f"clamp_min({n} - ({beside} or {n} * 0), 0)"


def _arms(spec: Spec, canary: Canary) -> list[Rule]:
    """The sums of every arm and, beside each variant, of the control since then."""
    lookback = write_duration(spec.lookback)
    at, since, total = (select(name, canary) for name in ("at", "since", "sum"))
    alive = f"last_over_time({at}[{lookback}]) > time() - {canary.forget_after}"
    now = f"max without ({series.STAT}) ({own('arrived', canary, stat('n'))}) * 0 + time()"
    prev, new = own("prev", canary), own("new", canary)
    return [
        ("spc:canary_prev", f"last_over_time({total}[{lookback}])\nand ignoring ({series.STAT}) ({alive})"),
        ("spc:canary_since", f"(last_over_time({since}[{lookback}]) and ({alive}))\nor {now}"),
        ("spc:canary_at", f"{now}\nor {alive}"),
        ("spc:canary_new", _new(canary)),
        ("spc:canary_sum", f"{prev} + {new}\nor {new}\nor {prev}\nor {_nothing_yet(canary)}"),
    ]


def _nothing_yet(canary: Canary) -> str:
    """0 for every sum of every arm, so that one which begins anew does not find what it was before."""
    wanted, since = names(canary, clustered), own("since", canary)
    of_all = [(which, since) for which in ("n", "bad", "control_n", "control_bad")]
    measured = own("since", canary, wanted)
    of_some = [(which, measured) for which in ("k", "xx", "control_k", "control_xx")] if wanted else []
    return either(label(f"{arms} * 0", series.STAT, which) for which, arms in [*of_all, *of_some])


def _new(canary: Canary) -> str:
    """What is added to the sums of arms that have settled: their own, and the control's."""
    settled = _settled(canary)
    arrived = f"{own('arrived', canary)} and ignoring ({series.STAT}) {settled}"
    beside = (_beside(canary, _one_stat(canary, which, of_control(canary)), which, settled) for which in ("n", "bad"))
    wanted = names(canary, clustered)
    return either([arrived, *beside, *(_batches(canary, wanted) if wanted else [])])


def _beside(canary: Canary, events: str, which: str, arms: str) -> str:
    """What the control adds, for every variant that is there."""
    variants = f"({arms} and {own('since', canary, of_variants(canary))}) * 0"
    total = f"{variants} + ignoring ({VARIANT}) group_left () sum without ({VARIANT}) ({events})"
    return label(total, series.STAT, f"control_{which}")


def _one_stat(canary: Canary, which: str, *more: str) -> str:
    return f"max without ({series.STAT}) ({own('arrived', canary, stat(which), *more)})"


def _settled(canary: Canary) -> str:
    """The arms that are compared."""
    wanted, since = names(canary, settles), own("since", canary)
    if not wanted:
        return since
    later = own("since", canary, wanted)
    return f"({later} <= time() - {SETTLE} or {since} unless {later})"


def _batches(canary: Canary, wanted: str) -> list[str]:
    """For the dispersion: the number of batches and the sum of ``bad^2 / n`` over them, of each arm and its control."""
    def of(which: str, *more: str) -> str:
        n, bad = (_one_stat(canary, name, wanted, *more) for name in ("n", "bad"))
        return f"({n} * 0 + 1)" if which == "k" else f"({bad} * {bad} / ({n} or {bad} * 0 + 1))"

    known = own("since", canary)
    return [part for which in ("k", "xx") for part in (
        label(f"({of(which)} and {known})", series.STAT, which),
        _beside(canary, of(which, of_control(canary)), which, known))]
