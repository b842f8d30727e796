"""The facts behind an alert, each with its counts: since the onset against as long before it, from the store's rows.

Facts only. What they speak for and against is judged by whoever asks (`backspan spc explain`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any

from sqlalchemy import Connection

from backspan import semconv
from backspan.rules.indicators import INDICATORS
from backspan.rules.spec import Chart
from backspan.server.charts import changes
from backspan.server.charts.evidence import in_cohort, suspects, whole
from backspan.server.charts.meter import Meter
from backspan.server.charts.views import alert as shown_alert
from backspan.store import Event, history
from backspan.store.model import ANSWER, FEEDBACK

Json = dict[str, Any]
LEAST_BEFORE = 86400.0
"""Seconds before the onset that are looked at, at least."""
_SAMPLES, _MOST_REASONS = 10, 20


@dataclass(frozen=True)
class Scope:
    """What is compared: events of the alert's cohort, ``since`` the onset ``until`` now, and ``before`` it."""

    meter: Meter
    labels: Mapping[str, str]
    before: float
    since: float
    until: float

    def late(self, time: float) -> bool:
        """Tell whether a time is after the onset."""
        return time >= self.since


@dataclass
class Side:
    """What was counted on one side of the onset."""

    n: float = 0.0
    bad: float = 0.0
    reasons: Counter[str] = field(default_factory=Counter[str])
    """Negative judgements that give each reason."""
    negative: int = 0
    raters: Counter[str] = field(default_factory=Counter[str])
    bad_raters: Counter[str] = field(default_factory=Counter[str])
    unknown: int = 0
    """Judgements by nobody in particular."""

    @property
    def rate(self) -> float | None:
        """Share, or events per exposure."""
        return self.bad / self.n if self.n else None


def explain(conn: Connection, chart: Chart, row: Mapping[str, Any], now: float) -> Json:
    """What the store knows of an alert (its row)."""
    alert = shown_alert(row)
    until = row["cleared"] or now
    since = alert.get("since") or row["fired"]
    before = since - max(until - since, LEAST_BEFORE)
    scope = Scope(Meter(chart), alert["cohort"]["labels"], before, since, until + 1e-6)
    events = [event for kind in scope.meter.kinds for event in history.events(conn, kind, before, scope.until)
              if in_cohort(event, scope.labels)]
    old, new = _side(scope, events, late=False), _side(scope, events, late=True)
    return {
        "alert": alert, "chart": chart.name, "description": chart.watched.description, "cohort": alert["cohort"],
        "since": since, "until": until, "from": before, "before": _rate(old), "after": _rate(new),
        "reasons": _reasons(old, new), "raters": {"before": _raters(old), "after": _raters(new)},
        "dimensions": _dimensions(scope, events, alert), "calls": _calls(conn, scope),
        "coverage": _coverage(conn, scope), **changes.facts(conn, scope.labels, before, since, scope.until),
        "samples": _samples(scope, events),
    }


# --- the chart's own events -----------------------------------------------------------------------------------------
def _side(scope: Scope, events: Iterable[Event], late: bool) -> Side:
    side = Side()
    for event in events:
        if scope.late(event.time) is not late:
            continue
        n, x = scope.meter.read(event) or (0.0, 0.0)
        side.n, side.bad = side.n + n, side.bad + x
        if event.kind == FEEDBACK and (n or x):
            _note(side, event, x > 0)
    return side


def _note(side: Side, event: Event, bad: bool) -> None:
    if event.get(semconv.LABEL_POLARITY) == semconv.NEGATIVE:
        side.negative += 1
        side.reasons.update(set(event.reasons))
    if event.rater is None:
        side.unknown += 1
        return
    side.raters[event.rater] += 1
    side.bad_raters[event.rater] += bad


def _rate(side: Side) -> Json:
    return {"n": whole(side.n), "bad": whole(side.bad), "rate": side.rate}


def _reasons(old: Side, new: Side) -> list[Json]:
    """Reasons by how much more often negative judgements give them since the onset; without any before, by number.

    ``lift`` is the share since over the share before, each with half a case added, so that neither is 0.
    """
    found: list[Json] = []
    for reason, count in new.reasons.items():
        before = old.reasons[reason]
        share, was = count / new.negative, before / old.negative if old.negative else None
        lift = ((count + 0.5) / (new.negative + 1)) / ((before + 0.5) / (old.negative + 1)) if old.negative else None
        found.append({
            "reason": reason, "n": count, "of": new.negative, "share": share, "lift": lift,
            "before": {"n": before, "of": old.negative, "share": was},
            "all": {"n": count + before, "of": new.negative + old.negative,
                    "share": (count + before) / (new.negative + old.negative)}})
    return sorted(found, key=lambda one: (-(one["lift"] or 1.0), -one["n"], one["reason"]))[:_MOST_REASONS]


def _raters(side: Side) -> Json:
    """Who judged, without saying who: how many, and how much of it one of them alone."""
    known, bad = side.raters.total(), side.bad_raters.total()
    top, top_bad = max(side.raters.values(), default=0), max(side.bad_raters.values(), default=0)
    return {"n": known + side.unknown, "unknown": side.unknown, "distinct": len(side.raters),
            "top": {"n": top, "share": top / known if known else None},
            "top_bad": {"n": top_bad, "of": bad, "share": top_bad / bad if bad else None}}


def _dimensions(scope: Scope, events: Sequence[Event], alert: Mapping[str, Any]) -> list[Json]:
    """Values that differ, each with the counts of the worst before and since the onset."""
    found = suspects(scope.meter, events, alert.get("phi") or 1.0)
    for one in found:
        for name, late in (("before", False), ("after", True)):
            mine = [event for event in events if event.get(one["key"]) == one["value"]]
            one[name] = _rate(_side(scope, mine, late))
    return found


def _samples(scope: Scope, events: Iterable[Event]) -> list[Json]:
    """The newest bad events since the onset that name a trace."""
    found: list[Json] = []
    for event in sorted(events, key=lambda event: -event.time):
        read = scope.meter.read(event)
        if scope.late(event.time) and event.trace_id and read is not None and _bad(scope.meter, read):
            found.append({"turn_id": event.turn_id, "trace_id": event.trace_id, "span_id": event.span_id,
                          "time": event.time, "reasons": list(event.reasons)})
    return found[:_SAMPLES]


def _bad(meter: Meter, read: tuple[float, float]) -> bool:
    return read[1] > 0 if not meter.model.falls else read[1] < read[0]


# --- what else happened ---------------------------------------------------------------------------------------------
def _own(scope: Scope, event: Event) -> bool:
    """The cohort, as far as events of another kind carry its labels: a call has no segment."""
    held = event.labels.keys()
    return all(event.get(key) == value for key, value in scope.labels.items() if key in held)


def _calls(conn: Connection, scope: Scope) -> Json:
    """Errors, how long calls took, answers that were cut short, tokens: before and since."""
    sides: dict[bool, list[tuple[Event, Mapping[str, Any]]]] = {False: [], True: []}
    for event, ended in history.calls_between(conn, scope.before, scope.until):
        if _own(scope, event):
            sides[scope.late(event.time)].append((event, ended))
    return {"before": _called(sides[False]), "after": _called(sides[True])}


def _called(calls: Sequence[tuple[Event, Mapping[str, Any]]]) -> Json:
    n = len(calls)
    errors = Counter(event.get(semconv.ERROR_TYPE) for event, _ in calls if event.get(semconv.ERROR_TYPE))
    took = sorted(event.seconds for event, _ in calls if event.seconds is not None)
    cut = sum(ended["finish"] == "length" or ended["outcome"] == "incomplete" for _, ended in calls)
    broken = sum(ended["outcome"] in ("disconnected", "failed", "abandoned") for _, ended in calls)
    slow = sum(seconds > (INDICATORS["slow_answers"].counted.within or inf) for seconds in took)

    def per_call(key: str) -> float | None:
        return sum(event.amounts.get(key, 0.0) for event, _ in calls) / n if n else None

    return {
        "n": n, "errors": errors.total(), "error_rate": errors.total() / n if n else None,
        "error_types": dict(errors.most_common(5)),
        "seconds": {"p50": _quantile(took, 0.5), "p95": _quantile(took, 0.95)}, "slow": slow,
        "truncated": cut, "truncated_rate": cut / n if n else None, "broken": broken,
        "input_tokens": per_call("input_tokens"), "output_tokens": per_call("output_tokens"),
    }


def _quantile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


def _coverage(conn: Connection, scope: Scope) -> Json:
    """Answers, and first judgements of users: a broken or changed widget shows here."""
    counts = {False: [0, 0], True: [0, 0]}
    for place, kind in enumerate((ANSWER, FEEDBACK)):
        for event in history.events(conn, kind, scope.before, scope.until):
            users = kind == ANSWER or event.get(semconv.LABEL_SOURCE) == semconv.END_USER
            if users and in_cohort(event, scope.labels):
                counts[scope.late(event.time)][place] += 1
    return {name: {"answers": answers, "judged": judged, "rate": judged / answers if answers else None}
            for name, (answers, judged) in (("before", counts[False]), ("after", counts[True]))}
