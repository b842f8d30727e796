"""Changes that may have caused an incident: something new, traffic that moved, or one value that became worse."""

from __future__ import annotations

from collections.abc import Mapping

from backspan import semconv
from backspan.cli._spc.comparing import LEAST, Cause, added, is_new, others_of, percent, worsened
from backspan.cli._spc.facts import Facts, Pair

CHANGES = {
    semconv.PROMPT_VERSION: "prompt version", semconv.REQUEST_MODEL: "model", semconv.RESPONSE_MODEL: "served model",
    semconv.INDEX_VERSION: "index version", semconv.VARIANT: "variant or router", "service.version": "release",
    semconv.PROMPT_NAME: "prompt",
}
_BESIDE = 100.0
"""Ratings of the other values since the change from which on they stand beside the new one. Fewer are mostly from the
moments between the estimated change point and the change, and worse by that selection."""


def change(facts: Facts, key: str, values: Mapping[str, Pair]) -> Cause:
    """What speaks for and against a change of ``key``, one of `CHANGES`."""
    cause = Cause(f"change of {CHANGES[key]}")
    total = added([pair.after for pair in values.values()]).n
    fresh = [value for value, pair in values.items() if is_new(values, pair) and pair.after.n >= max(5.0, 0.05 * total)]
    if fresh:
        _appeared(cause, facts, values, max(fresh, key=lambda value: values[value].after.bad))
    elif not _mixed(cause, facts, values):
        _grown_worse(cause, facts, values)
    return cause


def _appeared(cause: Cause, facts: Facts, values: Mapping[str, Pair], value: str) -> None:
    pair, rest, name = values[value], others_of(values, value), value or "(none)"
    cause.pro(2.0, f"{name} was first rated at the change")
    shown = f"{name}: {percent(pair.after)}; the others since: {percent(rest.after)}"
    if rest.after.n >= LEAST and worsened(rest.after, pair.after, facts):
        cause.pro(2.0, shown)
    elif rest.after.n >= _BESIDE:
        cause.con(2.0, f"it is no worse than the others: {shown}")
    elif worsened(added([rest.before, rest.after]), pair.after, facts):
        cause.pro(1.5, f"{name}: {percent(pair.after)}; what it replaced: {percent(rest.before)}")
    else:
        cause.con(2.0, f"{name} is no worse than what it replaced: {percent(pair.after)}")
    if rest.after.n >= _BESIDE and worsened(rest.before, rest.after, facts):
        cause.con(1.0, f"the others have become worse as well: {percent(rest.before)} before")


def _mixed(cause: Cause, facts: Facts, values: Mapping[str, Pair]) -> bool:
    """Traffic that moved to values which were worse all along, and so explains at least half of the change."""
    before, after = (added([getattr(p, side) for p in values.values()]) for side in ("before", "after"))
    if before.n < LEAST or after.n < LEAST or len(values) < 2:
        return False
    expected = sum(pair.after.n * (pair.before.rate if pair.before.n else after.rate) for pair in values.values())
    by_mix, seen = expected / after.n - before.rate, after.rate - before.rate
    if not worsened(before, after, facts) or by_mix / seen < 0.5:
        return False
    cause.pro(2.5, f"traffic moved to values that always were worse: that explains {min(by_mix / seen, 1.0):.0%} of it")
    return True


def _grown_worse(cause: Cause, facts: Facts, values: Mapping[str, Pair]) -> None:
    """One of several old values has become worse, and the others have not: something changed behind its name."""
    worse = [value for value, pair in values.items() if worsened(pair.before, pair.after, facts)]
    steady = [v for v, pair in values.items() if v not in worse and min(pair.before.n, pair.after.n) >= LEAST]
    if len(worse) == 1 and steady:
        pair = values[worse[0]]
        rest = others_of(values, worse[0])
        if worsened(rest.after, pair.after, facts):
            cause.pro(1.5, f"only {worse[0] or '(none)'} has become worse: {percent(pair.before)} before,"
                           f" {percent(pair.after)} since; the others: {percent(rest.after)}")
