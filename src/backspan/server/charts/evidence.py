"""What an alert says the moment it fires, and how far the values of a dimension differ in their share of bad events."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import exp, inf, log, sqrt
from typing import Any

from sqlalchemy import Connection

from backspan import semconv
from backspan.rules.spec import Chart
from backspan.server.charts.detector import Detector
from backspan.server.charts.meter import Meter, cohort_of
from backspan.spc.phases import Cohort, Effective
from backspan.store import Event, history

_POOL, _MOST = 500, 5000
"""Fewest and most of the newest events in which the guilty dimension is looked for."""
_Z999 = 3.090232306167813
DIMENSIONS = (*semconv.DIMENSIONS, semconv.RESPONSE_MODEL)
"""What could be guilty: what the application says of a call, and the model that served it."""

Cell = list[float]
"""[n, bad] of one value."""


def in_cohort(event: Event, labels: Mapping[str, str]) -> bool:
    """Tell whether an event belongs to the cohort of these labels."""
    return all(event.get(key) == value for key, value in labels.items())


def whole(number: float) -> float:
    """``number`` as an integer where it is one, so that JSON shows 12 and not 12.0."""
    return int(number) if number == int(number) else number


def false_alarm_every(chart: Chart, per_day: float) -> int:
    """Rated events of the whole system to one false alarm, at ``per_day`` of them."""
    return round(chart.promise.in_events(per_day))


def details(conn: Connection, one: Detector, limit: float, parent: Cohort | None) -> dict[str, Any]:
    """What, how sure, since when, how many, against which baseline, and what would clear it."""
    chart, base = one.chart, one.life.baseline(parent)
    since = one.ratings - one.onset + 1
    promised = round(chart.n_ref * exp(limit) / len(chart.partitions))
    return {
        "severity": chart.severity, "runbook": chart.runbook, "owner": chart.owner, "indicator": chart.indicator,
        "statistic": one.life.value, "threshold": limit, "false_alarm_every": promised, "promise": str(chart.promise),
        "baseline": base.p0 if base else None, "p0": base.p0 if base else None, "phi": base.phi if base else None,
        "phase": base.phase if base else None, "ratings": whole(one.ratings), "bad": whole(one.bad),
        "since_rating": whole(one.onset), "since": one.onset_time, "guilty": guilty(conn, one, since),
    }


def held(
    one: Detector, base: Effective | None, severity: str, statistic: float, threshold: float, since: float, **more: Any
) -> dict[str, Any]:
    """The same of an alert that is no alarm by evidence: its promise is that of its rule, not one of the chart."""
    chart = one.chart
    return {
        "rating": round(one.ratings), "severity": severity, "runbook": chart.runbook, "owner": chart.owner,
        "indicator": chart.indicator, "statistic": statistic, "threshold": threshold, "false_alarm_every": None,
        "promise": None, "baseline": base.p0 if base else None, "p0": base.p0 if base else None,
        "phi": base.phi if base else None, "phase": base.phase if base else None, "ratings": whole(one.ratings),
        "bad": whole(one.bad), "since_rating": None, "since": since, "guilty": [], **more,
    }


def guilty(conn: Connection, one: Detector, since: float) -> list[dict[str, Any]]:
    """Dimensions whose values differ in the newest events, twice as many as since the onset; see `suspects`.

    Twice as many, because a dimension with one value cannot say why it happened now.
    """
    meter = Meter(one.chart)
    most = int(min(_MOST, max(_POOL, 2 * since)))
    name = meter.total.where.get(semconv.LABEL_NAME)
    pool = [event for kind in meter.kinds for event in history.newest(conn, kind, most, name)]
    labels = cohort_of(one.key)["labels"]
    base = one.life.baseline()
    return suspects(meter, (event for event in pool if in_cohort(event, labels)), base.phi if base else 1.0)


def suspects(meter: Meter, events: Iterable[Event], phi: float = 1.0) -> list[dict[str, Any]]:
    """Dimensions whose values differ in their rate of bad events: the worst value of each, most certain first."""
    tables: dict[str, dict[str, Cell]] = {key: {} for key in DIMENSIONS}
    for event in events:
        read = meter.read(event)
        if read is not None:
            for key, table in tables.items():
                cell = table.setdefault(event.get(key), [0.0, 0.0])
                cell[0], cell[1] = cell[0] + read[0], cell[1] + read[1]
    found = [_worst(meter, key, table, phi) for key, table in tables.items()]
    return sorted((one for one in found if one is not None), key=lambda one: -one["score"] / one["limit"])


def _worst(meter: Meter, key: str, table: Mapping[str, Sequence[float]], phi: float) -> dict[str, Any] | None:
    differ = independence if meter.watched.kind == "share" else unequal
    rates = {value: (cell[1] / cell[0], cell[0]) for value, cell in table.items() if cell[0] > 0}
    if len(rates) < 2:
        return None
    score, limit = differ(table) / phi, significant(len(rates))
    if score < limit:
        return None
    sign = -1.0 if meter.model.falls else 1.0
    value = max(rates, key=lambda one: (sign * rates[one][0], rates[one][1]))
    n, bad = table[value]
    rest_n, rest_bad = (sum(cell[i] for other, cell in table.items() if other != value) for i in (0, 1))
    return {"key": key, "value": value, "n": whole(n), "bad": whole(bad), "rate": bad / n, "score": score,
            "limit": limit,
            "rest": {"n": whole(rest_n), "bad": whole(rest_bad), "rate": rest_bad / rest_n if rest_n else None}}


def significant(values: int) -> float:
    """What the statistic of that many values exceeds by chance once in a thousand: chi-square, Wilson and Hilferty."""
    freedom = values - 1.0
    a = 2.0 / (9.0 * freedom)
    return freedom * float((1.0 - a + _Z999 * sqrt(a)) ** 3)


def independence(table: Mapping[str, Sequence[float]]) -> float:
    """Likelihood-ratio statistic G of a table value -> (n, bad); 0 when every value has the same share of bad."""
    n, bad = sum(cell[0] for cell in table.values()), sum(cell[1] for cell in table.values())
    if not 0 < bad < n:
        return 0.0
    total = 0.0
    for cell_n, cell_bad in table.values():
        for seen, share in ((cell_bad, bad / n), (cell_n - cell_bad, 1 - bad / n)):
            total += seen * log(seen / (cell_n * share)) if seen else 0.0
    return 2.0 * total


def unequal(table: Mapping[str, Sequence[float]]) -> float:
    """The same for rates: Poisson deviance of a table value -> (exposure, events); 0 when all have the same rate.

    A value with events and no exposure has nothing that it could be compared by, and is left out.
    """
    cells = [cell for cell in table.values() if cell[0] > 0]
    n, bad = sum(cell[0] for cell in cells), sum(cell[1] for cell in cells)
    if not bad > 0:
        return 0.0
    return 2.0 * sum(x * log(x / (e * bad / n)) for e, x in cells if x > 0)


def finite(value: float | None) -> float | None:
    """``value``, or None where JSON has no number for it."""
    return None if value is None or value in (inf, -inf) else value
