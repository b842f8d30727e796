"""Facts about an incident from a Prometheus: the same counters before and after the change point.

Evidence, not the pager's count: `increase()` is good enough here, and is rounded.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from backspan import semconv
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.facts import Cell, Facts, Numbers, Pair
from backspan.cli._spc.http import Refused
from backspan.cli._spc.progress import Progress
from backspan.cli._spc.prometheus import Prometheus
from backspan.rules.indicators import INDICATORS, Events, Indicator, matchers
from backspan.rules.spec import Chart

Span = tuple[float, float]
_RATER_SHARE = "rater_concentration"


class Queries:
    """Asks for one cohort (its OpenTelemetry keys and values) of one chart, before and after."""

    def __init__(
        self, prometheus: Prometheus, chart: Chart, labels: Mapping[str, str], before: Span, after: Span
    ) -> None:
        self._prometheus, self._chart, self._labels = prometheus, chart, labels
        self._spans = (before, after)

    def facts(self) -> Facts:
        """All that the Prometheus knows. Raises `Fault` if it does not answer."""
        with Progress("gathering evidence", 7) as bar:
            dimensions = self._dimensions()
            bar.at(1)
            rated = self._rated()
            answers = self._two(INDICATORS["feedback_coverage"].total)
            bar.at(2)
            reasons = self._reasons()
            bar.at(3)
            calls = self._calls()
            bar.at(4)
            retrievals = self._retrievals()
            bar.at(5)
            tokens = self._tokens()
            bar.at(6)
            drift, raters = self._drift(), self._raters()
        before, after = self._spans
        return Facts(
            rated=rated, answers=answers, raters=raters, reasons=reasons, calls=calls, retrievals=retrievals,
            tokens=tokens, dimensions=dimensions, drift=drift, since=after[0], before=before, after=after,
            worse_down=self._chart.model.falls)

    # --- the chart's own events ---
    def _dimensions(self) -> dict[str, dict[str, Pair]]:
        watched = self._chart.watched
        keys = [key for key in (*semconv.DIMENSIONS, semconv.RESPONSE_MODEL, "service.version")
                if key in watched.keys and key not in self._labels]
        return {key: values for key in keys if len(values := self._by(watched, key)) > 0}

    def _by(self, watched: Indicator, key: str) -> dict[str, Pair]:
        """Counts by the values of one key; none if only "" is there."""
        label = semconv.prometheus_label(key)
        n = [self._sums(watched.total, span, label) for span in self._spans]
        x = [self._sums(watched.counted, span, label) for span in self._spans]
        values = sorted({value for side in n for value in side if side[value] > 0})
        if values in ([], [""]):
            return {}
        good = watched.good is not None
        return {value: Pair(*(_cell(n[i].get(value, 0.0), x[i].get(value, 0.0), good) for i in (0, 1)))
                for value in values}

    def _rated(self) -> Pair:
        watched = self._chart.watched
        good = watched.good is not None
        cells = [_cell(self._sum(watched.total, span) or 0.0, self._sum(watched.counted, span) or 0.0, good)
                 for span in self._spans]
        return Pair(*cells)

    def _reasons(self) -> tuple[Numbers, Numbers] | None:
        found = [self._sums(INDICATORS["bad_reasons"].counted, span, semconv.LABEL_REASON) for span in self._spans]
        return (found[0], found[1]) if any(found) else None

    # --- what else happened ---
    def _calls(self) -> tuple[Numbers, Numbers] | None:
        errors, slow, refused = (INDICATORS[name] for name in ("errors", "slow_answers", "refusals"))
        sides: list[dict[str, float]] = []
        for span in self._spans:
            n = self._sum(errors.total, span)
            side = {} if n is None else {"n": n, "errors": self._sum(errors.counted, span) or 0.0}
            quick = self._sum(slow.counted, span)
            if n is not None and quick is not None:
                side["slow"] = max(n - quick, 0.0)
            count = self._sum(refused.counted, span)
            sides.append({**side, **({"refused": count} if count is not None else {})})
        return (sides[0], sides[1]) if all("n" in side for side in sides) else None

    def _retrievals(self) -> tuple[Numbers, Numbers] | None:
        parts = {"n": INDICATORS["empty_retrievals"].total, "empty": INDICATORS["empty_retrievals"].counted,
                 "weak": INDICATORS["weak_retrievals"].counted}
        sides = [{name: count for name, events in parts.items() if (count := self._sum(events, span)) is not None}
                 for span in self._spans]
        return (sides[0], sides[1]) if all("n" in side for side in sides) else None

    def _tokens(self) -> tuple[Numbers, Numbers] | None:
        sides: list[dict[str, float]] = []
        for span in self._spans:
            calls = self._sum(INDICATORS["input_tokens"].total, span)
            side = {kind: self._sum(INDICATORS[f"{kind}_tokens"].counted, span) for kind in ("input", "output")}
            sides.append({kind: count / calls for kind, count in side.items() if count is not None and calls})
        return (sides[0], sides[1]) if all(sides) else None

    def _drift(self) -> tuple[float, float] | None:
        found = [self._gauge(INDICATORS["input_drift"].gauge, span) for span in self._spans]
        return (found[0], found[1]) if found[0] is not None and found[1] is not None else None

    def _raters(self) -> Numbers:
        share = self._gauge(INDICATORS[_RATER_SHARE].gauge, self._spans[1])
        return {} if share is None else {"share": share}

    # --- asking ---
    def _two(self, events: Events) -> tuple[float, float] | None:
        found = [self._sum(events, span) for span in self._spans]
        return (found[0], found[1]) if found[0] is not None and found[1] is not None else None

    def _sum(self, events: Events, span: Span) -> float | None:
        rows = self._ask(f"sum({self._increase(events, span)})", span[1])
        return next((round(value) for _, value in rows), None)

    def _sums(self, events: Events, span: Span, label: str) -> dict[str, float]:
        rows = self._ask(f"sum by ({label}) ({self._increase(events, span)})", span[1])
        return {said.get(label, ""): float(round(value)) for said, value in rows if round(value) > 0}

    def _increase(self, events: Events, span: Span) -> str:
        return f"increase({self._selector(events)}[{max(60, round(span[1] - span[0]))}s])"

    def _selector(self, events: Events) -> str:
        """The events of this cohort, as far as their series can carry its labels."""
        mine = semconv.DIMENSIONS if not events.metric.startswith("gen_ai") else _carried(events)
        labels = {key: value for key, value in self._labels.items() if key in (*semconv.PROMOTED, *mine)}
        more = matchers({semconv.prometheus_label(key): value for key, value in labels.items()})
        name, brace, rest = events.selector.partition("{")
        inside = ",".join(part for part in (rest[:-1] if brace else "", more) if part)
        return f"{name}{{{inside}}}" if inside else name

    def _gauge(self, name: str, span: Span) -> float | None:
        said = {semconv.prometheus_label(key): value for key, value in self._labels.items() if key in semconv.PROMOTED}
        inside = matchers(said)
        seconds = max(60, round(span[1] - span[0]))
        rows = self._ask(f"max(max_over_time({name}{{{inside}}}[{seconds}s]))", span[1])
        return next((value for _, value in rows), None)

    def _ask(self, expression: str, at: float) -> Iterable[tuple[dict[str, str], float]]:
        try:
            return self._prometheus.query(expression, at)
        except Refused as error:
            raise Fault(f"{error} (asked: {expression})") from None


def _carried(events: Events) -> tuple[str, ...]:
    """Keys that the conventions' metrics of a call carry."""
    return Indicator("", "", "share", events, events).keys


def _cell(n: float, x: float, good: bool) -> Cell:
    return Cell(n, max(n - x, 0.0) if good else x)
