"""The story that the shipped promtool tests tell: two versions of a prompt, one bad, and every trap of counting.

An hour and a half at one sample per evaluation. Version 2 goes out after half an hour and is voted down three times as
often as accepted for half an hour. On the way: a process that restarts, a second instance, a series with a past that
Prometheus never saw, one that goes stale, changed votes (which do not count), and a service that names no prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from random import Random

from backspan import semconv
from backspan.rules.indicators import Indicator
from backspan.rules.oracle import STALE, Labels, labels_of

STEPS = 360
"""Evaluations that the story lasts; a third of them before, during and after the bad version each."""

_THIRD = STEPS // 3
_POLARITIES = (semconv.POSITIVE, semconv.NEGATIVE)
_Slots = dict[str, list[float | None]]


def streams(indicator: Indicator, interval: int) -> dict[Labels, list[tuple[float, float | None]]]:
    """Raw series of ``indicator``'s counter with one sample per ``interval`` seconds. The same on every call."""
    random = Random(20)
    chat = {semconv.PROM_SERVICE: "chat", semconv.PROM_ENVIRONMENT: "production"}
    old = {**chat, **_prompt("support", "v1")}
    new = {**chat, **_prompt("support", "v2")}
    story = [
        ({**old, "instance": "a"}, _votes(random, {0: 0.1}, restart=200)),
        ({**old, "instance": "b"}, _votes(random, {0: 0.1}, past=500, until=300)),
        ({**new, "instance": "a"}, _votes(random, {_THIRD: 0.3, 2 * _THIRD: 0.05}, begin=_THIRD - 2, restart=200)),
        ({**new, "instance": "gateway"}, _votes(random, {_THIRD: 0.3, 2 * _THIRD: 0.05}, begin=_THIRD - 2)),
        ({semconv.PROM_SERVICE: "search", "instance": "c"}, _votes(random, {40: 0.08}, rate=0.2)),
    ]
    out: dict[Labels, list[tuple[float, float | None]]] = {}
    for labels, slots in story:
        out.update(_series({**indicator.where, **labels}, slots, interval))
    changed = _votes(random, {0: 0.9}, rate=5.0)
    out.update(_series({**indicator.where, **old, semconv.LABEL_OP: semconv.CHANGE}, changed, interval))
    return out


def _prompt(name: str, version: str) -> dict[str, str]:
    keys = (semconv.PROMPT_NAME, semconv.PROMPT_VERSION)
    return dict(zip((semconv.prometheus_label(key) for key in keys), (name, version), strict=True))


def _votes(
    random: Random,
    shares: Mapping[int, float],
    *,
    rate: float = 1.5,
    begin: int = 0,
    until: int = STEPS,
    restart: int = -1,
    past: int = 0,
) -> _Slots:
    """Counter values per polarity. ``shares``: from which step on which share is negative; nobody votes before the
    first. ``rate``: votes per step, on average."""
    count = dict.fromkeys(_POLARITIES, past)
    slots: _Slots = {polarity: [] for polarity in _POLARITIES}
    for step in range(begin, until):
        if step == restart:
            count = dict.fromkeys(_POLARITIES, 0)
        begun = [start for start in shares if start <= step]
        share = shares[max(begun)] if begun else None
        votes = 0 if share is None or step == begin else int(rate + random.random())
        for _ in range(votes):
            count[semconv.NEGATIVE if random.random() < (share or 0.0) else semconv.POSITIVE] += 1
        for polarity in _POLARITIES:
            slots[polarity].append(count[polarity])
    for polarity in _POLARITIES:
        slots[polarity] = [*[float("nan")] * begin, *slots[polarity], *([STALE] if until < STEPS else [])]
    return slots


def _series(labels: Mapping[str, str], slots: _Slots, interval: int) -> dict[Labels, list[tuple[float, float | None]]]:
    return {
        labels_of({**labels, semconv.LABEL_POLARITY: polarity}): [
            (slot * interval, value) for slot, value in enumerate(values) if value is None or value == value
        ]
        for polarity, values in slots.items()
    }
