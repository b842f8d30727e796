"""The rules of a canary in Python: what they must record, given the samples that Prometheus has.

It counts by `backspan.rules.oracle_counting` and compares by `backspan.rules.canary_arms`; nothing of the PromQL.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from backspan import semconv
from backspan.rules import canary_split as split
from backspan.rules.canary_arms import Arms, Group, Key, Row, Traffic
from backspan.rules.indicators import INDICATORS, Events
from backspan.rules.oracle_counting import Counter, Labels, Samples, labels_of, selected
from backspan.rules.spec import Canary, Spec

__all__ = ["Comparison", "Group", "Key", "Row", "Split"]

_AGED = (semconv.PROM_FEEDBACK, semconv.PROM_FEEDBACK_REASONS)


class Exposure:
    """New events of every arm, by the raw series of one kind of events."""

    def __init__(
        self, spec: Spec, canary: Canary, events: Events, streams: Mapping[Labels, Samples], bad: Events | None = None
    ) -> None:
        self._canary = canary
        wanted = {labels: samples for labels, samples in streams.items() if self._meant(events, dict(labels))}
        self._counters = {labels: Counter(spec, samples) for labels, samples in wanted.items()}
        self._bad = bad

    def _meant(self, events: Events, labels: dict[str, str]) -> bool:
        young = events.metric not in _AGED or labels.get(semconv.LABEL_AGE) == semconv.LE_1H
        return young and selected(events, labels) and bool(labels.get(semconv.prometheus_label(self._canary.by)))

    def step(self, at: float) -> tuple[dict[tuple[Group, str], float], dict[tuple[Group, str], float]]:
        """Events by group and variant, and those among them that are bad (if the series itself tells)."""
        total, marked = defaultdict[tuple[Group, str], float](float), defaultdict[tuple[Group, str], float](float)
        for labels, counter in self._counters.items():
            new, said = counter.step(at), dict(labels)
            arm = self._arm(said)
            total[arm] += new or 0.0
            if self._bad and selected(self._bad, said):
                marked[arm] += new or 0.0
        return total, marked

    def _arm(self, labels: Mapping[str, str]) -> tuple[Group, str]:
        within = map(semconv.prometheus_label, self._canary.within)
        group = labels_of({key: labels.get(key, "") for key in within})
        return group, labels[semconv.prometheus_label(self._canary.by)]


class Comparison:
    """One canary over raw series. Call `step` once per evaluation, with rising times ``spec.interval`` apart."""

    def __init__(self, spec: Spec, canary: Canary, streams: Mapping[Labels, Samples]) -> None:
        self._sources: dict[str, tuple[Exposure, Exposure | None]] = {}
        for name in canary.indicators:
            one = INDICATORS[name]
            total = Exposure(spec, canary, one.total, streams, one.bad if one.nested else None)
            beside = None if one.nested else Exposure(spec, canary, one.counted, streams)
            self._sources[name] = (total, beside)
        self._arms = Arms(canary)

    def step(self, at: float) -> dict[Key, Row]:
        """Every arm that is compared after the evaluation at ``at``."""
        return self._arms.step(at, {key: new for name in self._sources for key, new in self._arrived(name, at).items()})

    def _arrived(self, name: str, at: float) -> dict[Key, tuple[float, float]]:
        total, beside = self._sources[name]
        n, bad = total.step(at)
        if beside is not None:
            bad, _ = beside.step(at)
            if INDICATORS[name].good is not None:
                bad = {arm: max(n[arm] - bad.get(arm, 0.0), 0.0) for arm in n}
        return {(name, *arm): (n.get(arm, 0.0), bad.get(arm, 0.0)) for arm in {**n, **bad}}


class Split:
    """The sample-ratio check of one canary over raw series. Call `step` as `Comparison.step`."""

    def __init__(self, spec: Spec, canary: Canary, streams: Mapping[Labels, Samples]) -> None:
        self._source = Exposure(spec, canary, split.exposures(canary), streams)
        self._traffic = Traffic(spec, canary)

    def step(self, at: float) -> dict[Group, float]:
        """Evidence against the expected shares, of every group whose hour ends now and that has enough hours."""
        return self._traffic.step(at, self._source.step(at)[0])

    def firing(self, at: float) -> dict[Group, float]:
        """Evidence of the groups for which the alert's condition holds at ``at``."""
        return self._traffic.firing(at)
