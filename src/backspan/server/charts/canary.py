"""Variants against their control, and the split between them, counted from the rows that the store keeps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection

from backspan.rules.indicators import INDICATORS, Indicator
from backspan.rules.spec import Baseline, Canary, Chart, Partition, Promise
from backspan.server.charts.history import Cells, tally
from backspan.server.charts.meter import Meter, why_not
from backspan.spc.sequential import Arm, compare
from backspan.spc.split import check_split

Json = dict[str, Any]


def comparisons(canary: Canary) -> dict[str, tuple[Meter, str]]:
    """For each indicator how it is counted, and why the store cannot count it (``""`` if it can)."""
    partition = Partition("canary", (*canary.within, canary.by))
    found: dict[str, tuple[Meter, str]] = {}
    for name in canary.indicators:
        chart = Chart(canary.name, name, (partition,), Promise(events=10**6), Baseline("learnt"))
        found[name] = (Meter(chart), why_not(chart))
    return found


def standing(canary: Canary) -> Json:
    """What the spec says of a canary, and whether its verdicts can be had here."""
    why = {name: reason for name, (_, reason) in comparisons(canary).items() if reason}
    return {
        "name": canary.name, "indicators": list(canary.indicators), "by": canary.by, "control": canary.control,
        "within": list(canary.within), "alpha": canary.alpha, "difference": canary.difference, "min_n": canary.min_n,
        "severity": canary.severity, "owner": canary.owner, "runbook": canary.runbook,
        "evaluated": len(why) < len(canary.indicators),
        "why": "; ".join(f"{name}: {reason}" for name, reason in why.items()),
    }


def verdicts(conn: Connection, canary: Canary, now: float) -> Json:
    """`standing` with every variant's comparison to the control, and the split where shares are expected.

    What is compared are the events since ``forget_after`` that retention has left.
    """
    shown, found = standing(canary), list[Json]()
    for name, (meter, why) in comparisons(canary).items():
        if not why:
            cells = tally(conn, meter, now - canary.forget_after, now + 1.0)
            found += _compared(canary, INDICATORS[name], cells)
    return {**shown, "comparisons": found}


def _compared(canary: Canary, indicator: Indicator, cells: Cells) -> list[Json]:
    groups: dict[tuple[tuple[str, str], ...], dict[str, tuple[float, float]]] = {}
    for (_, labels, _), (n, x) in cells.items():
        said = dict(labels)
        variant = said.pop(canary.by, "")
        groups.setdefault(tuple(said.items()), {})[variant] = (n, x)
    found: list[Json] = []
    for within, arms in groups.items():
        control = arms.get(canary.control)
        if control is not None:
            found += [{"indicator": indicator.name, "within": dict(within),
                       **_verdict(canary, indicator, variant, arm, control)}
                      for variant, arm in sorted(arms.items()) if variant not in (canary.control, "")]
            found += _split(canary, indicator, dict(within), arms)
    return found


def _verdict(
    canary: Canary, indicator: Indicator, name: str, arm: tuple[float, float], control: tuple[float, float]
) -> Json:
    said = compare(
        Arm(*arm), Arm(*control), canary.difference, alpha=canary.alpha, min_n=canary.min_n,
        worse="down" if indicator.falls else "up", family=indicator.model.family)
    found = asdict(said)
    return {**found, "variant_arm": found["variant"], "variant": name}


def _split(canary: Canary, indicator: Indicator, within: Json, arms: Mapping[str, tuple[float, float]]) -> list[Json]:
    """The sample-ratio check, on exposure, once per indicator."""
    if not canary.expect:
        return []
    counts = [round(arms.get(name, (0.0, 0.0))[0]) for name, _ in canary.expect]
    said = check_split(counts, [share for _, share in canary.expect])
    return [{"indicator": indicator.name, "within": within, "variants": [name for name, _ in canary.expect],
             "sample_ratio": asdict(said)}]
