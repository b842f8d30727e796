"""What the promtool tests of charts, objectives and canaries share: raw counters, and how a value is compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from backspan import semconv
from backspan.rules._node import write_duration
from backspan.rules.indicators import Events, Indicator, matchers
from backspan.rules.oracle_counting import Labels, Samples, labels_of, parsed
from backspan.rules.promtool import TOLERANCE, Sample, write_values

Slots = Sequence[float | None]
"""A counter's value per scrape; None is a scrape that is missing."""


def counters(
    indicator: Indicator, labels: Mapping[str, str], n: Slots, bad: Slots, step: int
) -> dict[Labels, Samples]:
    """Raw series of ``indicator`` for one process, from its counts of all events and of the bad ones.

    ``labels`` are Prometheus labels; they win over those that the indicator asks for. Scrapes are ``step`` seconds
    apart from 0. An indicator whose bad ones are told apart by a label becomes a series of each kind.
    """
    total, beside = indicator.total, indicator.counted
    rest = _difference(n, bad)
    if indicator.nested:
        good = {**told_apart(total, beside), **labels}
        return {**single(beside, labels, bad, step), **single(total, good, rest, step)}
    return {**single(total, labels, n, step),
            **single(beside, labels, rest if indicator.good is not None else bad, step)}


def single(events: Events, labels: Mapping[str, str], values: Slots, step: int) -> dict[Labels, Samples]:
    """One raw series of ``events``."""
    return {named(events, labels): [(slot * step, value) for slot, value in enumerate(values) if value is not None]}


def named(events: Events, labels: Mapping[str, str]) -> Labels:
    """Name and labels of one raw series of ``events``; ``labels`` win over what the events ask for."""
    if events.promql:
        name, said = parsed(events.promql)
        return labels_of({"__name__": name, **labels, **said})
    bucket = {"le": repr(events.within)} if events.within is not None else {}
    return labels_of({"__name__": events.name, **required(events), **labels, **bucket})


def required(events: Events) -> dict[str, str]:
    """Labels that make a series one of ``events``."""
    said = {**dict.fromkeys(events.unlike, "x"), **{key: f"{value}x" for key, value in events.like.items()}}
    return {semconv.prometheus_label(key): value for key, value in {**said, **events.where}.items()}


def written(streams: Mapping[Labels, Samples], step: int) -> list[dict[str, str]]:
    """Raw series in promtool's notation."""
    return [_series(dict(labels), samples, step) for labels, samples in streams.items()]


def _series(labels: dict[str, str], samples: Samples, step: int) -> dict[str, str]:
    name = labels.pop("__name__")
    return {"series": f"{name}{{{matchers(labels)}}}", "values": write_values(samples, step)}


def _difference(n: Slots, bad: Slots) -> Slots:
    return [None if a is None or b is None else a - b for a, b in zip(n, bad, strict=True)]


def told_apart(total: Events, bad: Events) -> dict[str, str]:
    """Labels of the good events, where a value tells the bad ones apart."""
    told = {**{key: "other" for key in bad.where if key not in total.where},
            **{key: "" for key in bad.unlike if key not in total.unlike}}
    if semconv.LABEL_POLARITY in told:
        told[semconv.LABEL_POLARITY] = semconv.POSITIVE
    return {semconv.prometheus_label(key): value for key, value in told.items()}


# --- expectations ---------------------------------------------------------------------------------------------------
def equals(selector: str, at: int, value: float | None) -> dict[str, Any]:
    """One series of ``selector``, recorded at ``at`` itself, has this value to 1e-9; None: there is no such series."""
    now = f"last_over_time({selector}[500ms])"
    if value is None:
        return expect(f"count({now}) or vector(0)", at, 0)
    bound = TOLERANCE * max(1.0, abs(value))
    return expect(f"sum(abs({now} - {value!r}) <= bool {bound!r}) or vector(-1)", at, 1)


def expect(expr: str, at: int, value: float) -> dict[str, Any]:
    """The query ``expr`` has this one value, without labels, at ``at`` seconds."""
    return {"expr": expr, "eval_time": write_duration(at), "exp_samples": [Sample(labels="{}", value=value)]}
