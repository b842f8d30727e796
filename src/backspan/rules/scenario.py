"""The story that the shipped promtool tests tell: two versions of a prompt, one bad, and every trap of counting.

An hour and a half at one sample per evaluation. Version 2 goes out after half an hour and goes wrong three times as
often as accepted for half an hour. On the way: a process that restarts, a second instance, a series with a past that
Prometheus never saw, one that goes stale, changed votes (which do not count), and a service that names no prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from random import Random

from backspan import semconv
from backspan.rules.indicators import Indicator
from backspan.rules.oracle_counting import STALE, Key, Labels, labels_of
from backspan.rules.spec import Chart
from backspan.rules.stories import named, required, told_apart
from backspan.spc.phases import REBASED, Effective

STEPS = 360
"""Evaluations that the story lasts; a third of them before, during and after the bad version each."""

_THIRD = STEPS // 3
_CHAT = {semconv.PROM_SERVICE: "chat", semconv.PROM_ENVIRONMENT: "production"}
Slots = Sequence[float | None]
Samples = list[tuple[float, float | None]]


def streams(indicator: Indicator, interval: int) -> dict[Labels, Samples]:
    """Raw series of ``indicator``'s counters with one sample per ``interval`` seconds. The same on every call."""
    random = Random(20)
    old, new = {**_CHAT, **_prompt("support", "v1")}, {**_CHAT, **_prompt("support", "v2")}
    model = {semconv.prometheus_label(semconv.REQUEST_MODEL): "large"}
    bad = {_THIRD: 0.3, 2 * _THIRD: 0.05}
    story = [
        ({**old, "instance": "a"}, _votes(random, {0: 0.1}, restart=200)),
        ({**old, **model, "instance": "b"}, _votes(random, {0: 0.1}, past=500, until=300)),
        ({**new, "instance": "a"}, _votes(random, bad, begin=_THIRD - 2, restart=200)),
        ({**new, **model, "instance": "gateway"}, _votes(random, bad, begin=_THIRD - 2)),
        ({semconv.PROM_SERVICE: "search", "instance": "c"}, _votes(random, {40: 0.08}, rate=0.2)),
    ]
    out: dict[Labels, Samples] = {}
    for labels, (wrong, right) in story:
        for key, slots in _counters(indicator, labels, wrong, right):
            out[key] = _samples(slots, interval)
    if semconv.LABEL_OP in indicator.total.where:
        wrong, _ = _votes(random, {0: 0.9}, rate=5.0)
        changed = {"__name__": indicator.total.name, **required(indicator.total), **old}
        out[labels_of({**changed, semconv.LABEL_OP: semconv.CHANGE})] = _samples(wrong, interval)
    return out


def overrides(chart: Chart) -> dict[Key, Effective]:
    """Baselines that the story's cohorts are given, where the chart would learn for longer than the story lasts."""
    if not chart.baseline.learnt:
        return {}
    p0 = 0.8 if chart.model.falls else 0.1
    base = Effective(p0, 1.2, REBASED)
    found: dict[Key, Effective] = {}
    for partition in chart.partitions:
        whole = partition.parent or partition
        found[whole.name, labels_of({key: value for key, value in _all_labels().items() if key in whole.labels})] = base
    return found


def _all_labels() -> dict[str, str]:
    return {**_CHAT, **_prompt("support", "v1")}


def _prompt(name: str, version: str) -> dict[str, str]:
    keys = (semconv.PROMPT_NAME, semconv.PROMPT_VERSION)
    return dict(zip((semconv.prometheus_label(key) for key in keys), (name, version), strict=True))


def _counters(
    indicator: Indicator, labels: Mapping[str, str], wrong: Slots, right: Slots
) -> Iterable[tuple[Labels, Slots]]:
    """The counters of one instance: as the indicator counts them, side by side or one within the other."""
    total, beside = indicator.total, indicator.counted
    if indicator.nested:
        yield named(beside, labels), wrong
        yield named(total, {**told_apart(total, beside), **labels}), right
        return
    both: Slots = [None if a is None or b is None else a + b for a, b in zip(wrong, right, strict=True)]
    yield named(total, labels), both
    yield named(beside, labels), right if indicator.good is not None else wrong


def _votes(
    random: Random,
    shares: Mapping[int, float],
    *,
    rate: float = 1.5,
    begin: int = 0,
    until: int = STEPS,
    restart: int = -1,
    past: int = 0,
) -> tuple[Slots, Slots]:
    """Counter values of the wrong and the right events. ``shares``: from which step on which share is wrong; nothing
    happens before the first. ``rate``: events per step, on average."""
    wrong, right = past, past
    slots: tuple[list[float | None], list[float | None]] = ([], [])
    for step in range(begin, until):
        if step == restart:
            wrong = right = 0
        begun = [start for start in shares if start <= step]
        share = shares[max(begun)] if begun else None
        for _ in range(0 if share is None or step == begin else int(rate + random.random())):
            if random.random() < (share or 0.0):
                wrong += 1
            else:
                right += 1
        slots[0].append(wrong)
        slots[1].append(right)
    before, after = [float("nan")] * begin, [STALE] if until < STEPS else []
    return [*before, *slots[0], *after], [*before, *slots[1], *after]


def _samples(slots: Slots, interval: int) -> Samples:
    return [(slot * interval, value) for slot, value in enumerate(slots) if value is None or value == value]
