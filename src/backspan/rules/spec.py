"""The declarative spec (``spc.yaml``): what is watched, in which cohorts, with which false-alarm promise.

The shipped one (`load` without a path) is ``spc.yaml`` beside this file; its comments explain the keys, and
`backspan.rules.schema` gives editors the same as a JSON schema. `backspan.rules.reading` turns a document into these
records.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import log
from pathlib import Path
from typing import Any

import yaml

from backspan import semconv
from backspan.rules._node import SpecError, lines_of
from backspan.rules.indicators import INDICATORS, Indicator
from backspan.spc import baseline
from backspan.spc.phases import Plan
from backspan.spc.shiryaev import ALTERNATIVES, CAP_ABOVE_LIMIT, MixtureSR, Model

__all__ = ["Baseline", "Canary", "Chart", "Limit", "Partition", "Promise", "Slo", "Spec", "SpecError", "default_path",
           "load", "parse"]

VERSION = 1
SEVERITIES = ("page", "ticket", "info")
LEAST_EVENTS = 2000
"""Fewest rated events to a false alarm that a promise in days may come to, however little is rated."""
INHERITED = (semconv.PROMPT_VERSION, semconv.VARIANT, semconv.INDEX_VERSION, semconv.REQUEST_MODEL,
             semconv.RESPONSE_MODEL, "service.version")
"""Keys whose new value takes over the baseline of all the values before it."""
_DAY = 86400


@dataclass(frozen=True)
class Partition:
    """One division of the rated events into cohorts: ``by`` are OpenTelemetry keys, `labels` their Prometheus names.

    ``inherit`` are the keys of the parent, whose baseline a new cohort uses until it has its own; empty: no parent.
    """

    name: str
    by: tuple[str, ...]
    inherit: tuple[str, ...] = ()

    @property
    def labels(self) -> tuple[str, ...]:
        """Prometheus label names of ``by``."""
        return tuple(semconv.prometheus_label(key) for key in self.by)

    @property
    def parent(self) -> Partition | None:
        """The division whose baselines this one's cohorts inherit. It learns, and does nothing else."""
        return Partition(f"{self.name}_parent", self.inherit) if self.inherit else None


@dataclass(frozen=True)
class Baseline:
    """Where the accepted rate comes from.

    ``kind`` "given": ``p0``, with dispersion ``phi``. "learnt": from ``ratings`` rated events in ``windows`` windows,
    at least; until then the chart pages nobody.
    """

    kind: str
    p0: float = 0.0
    phi: float = 1.0
    ratings: int = baseline.RATINGS
    windows: int = baseline.WINDOWS

    @property
    def learnt(self) -> bool:
        """Tell whether the rate is learnt."""
        return self.kind == "learnt"


@dataclass(frozen=True)
class Promise:
    """How often a chart may be wrong: once in ``events`` rated events of the whole system, or once in ``days``.

    Days become events by the measured volume, at least `LEAST_EVENTS`.
    """

    events: int | None = None
    days: float | None = None

    def in_events(self, per_day: float) -> float:
        """The promise in rated events, at ``per_day`` of them."""
        return float(self.events) if self.events else max((self.days or 0.0) * per_day, float(LEAST_EVENTS))

    def __str__(self) -> str:
        return f"{self.events} rated events" if self.events else f"{self.days:g} days"


@dataclass(frozen=True)
class Slo:
    """A service level objective on a chart's events: a share ``objective`` of them is good over ``period`` seconds."""

    objective: float
    period: int = 28 * _DAY
    severity: str = "page"

    @property
    def budget(self) -> float:
        """Share of events that may be bad."""
        return 1.0 - self.objective


@dataclass(frozen=True)
class Chart:
    """One chart. Durations are seconds; ``where`` narrows the bad events by further labels.

    ``better``: the chart looks for the good direction (a second chart, of ``direction: both``). ``custom`` is the
    indicator of a chart on free PromQL, which only Prometheus can evaluate. ``drawn``: p, u or g, or auto.
    """

    name: str
    indicator: str
    partitions: tuple[Partition, ...]
    promise: Promise
    baseline: Baseline
    better: bool = False
    custom: Indicator | None = None
    where: tuple[tuple[str, str], ...] = ()
    drawn: str = "auto"
    n_ref: int = 10
    alternatives: tuple[float, ...] = ALTERNATIVES
    window: int = 3600
    tickets: bool = True
    slo: Slo | None = None
    severity: str = "page"
    owner: str = ""
    runbook: str = ""
    keep_firing_for: int = 3600
    idle_after: int = 2 * 3600
    forget_after: int = 7 * _DAY

    @property
    def watched(self) -> Indicator:
        """The catalogue entry that the chart names, narrowed and turned as the chart says."""
        return _narrowed(self.custom or INDICATORS[self.indicator], dict(self.where), self.better)

    @property
    def model(self) -> Model:
        """How the chart's events come about, and in which direction it looks."""
        return self.watched.model

    @property
    def limit(self) -> float:
        """ln R at which the chart alarms; with a promise in days, what it is at least."""
        return self.limit_at(0.0)

    def limit_at(self, per_day: float) -> float:
        """ln R at which the chart alarms, the same for every cohort of every partition, at ``per_day`` rated events."""
        return log(len(self.partitions) * self.promise.in_events(per_day) / self.n_ref)

    @property
    def cap(self) -> float:
        """Upper end of ln R, so that an incident is not remembered for as long as it lasted."""
        return self.limit + CAP_ABOVE_LIMIT

    @property
    def plan(self) -> Plan:
        """What the chart lays down for all its cohorts."""
        base = self.baseline
        given = None if base.learnt else (base.p0, base.phi)
        return Plan(self.model, self.alternatives, self.n_ref, base.ratings, base.windows, given)

    def detector(self, p0: float | None = None, phi: float | None = None) -> MixtureSR:
        """A new detector for one cohort: it alarms when ``step(n, bad) >= limit``. Default: the given baseline.

        Raises ValueError if the baseline is learnt and no ``p0`` is said.
        """
        rate = self.baseline.p0 if p0 is None else p0
        spread = self.baseline.phi if phi is None else phi
        return MixtureSR(rate, self.alternatives, self.n_ref, self.cap, phi=spread, model=self.model)

    @property
    def drawn_as(self) -> tuple[str, str]:
        """Which chart people look at (``p``, ``u`` or ``g``), and why."""
        if self.drawn != "auto":
            return self.drawn, "as the spec says"
        if self.watched.kind == "rate":
            return "u", "events are counted per exposure, and the exposure differs from window to window"
        if 0.0 < self.baseline.p0 < 0.01:
            return "g", "events are rarer than 1 %: a window holds too few of them, so the gaps between them are drawn"
        return "p", "each event is bad or not, and their number differs from window to window"


def _narrowed(indicator: Indicator, where: dict[str, str], better: bool) -> Indicator:
    bad = indicator.bad.narrowed(where) if indicator.bad else None
    return replace(indicator, bad=bad, falls=indicator.falls != better)


@dataclass(frozen=True)
class Canary:
    """A comparison of variants with a control: ``by`` is the key that tells them apart, ``within`` what they share.

    ``difference`` is the smallest difference of rates that matters (tau of the test), ``alpha`` the chance of a wrong
    verdict over the whole life of the comparison, ``min_n`` the fewest events per arm. ``expect`` are the shares of
    traffic that each value of ``by`` should have; empty: not checked.
    """

    name: str
    indicators: tuple[str, ...]
    by: str = semconv.VARIANT
    control: str = "control"
    within: tuple[str, ...] = (semconv.SERVICE_NAME, semconv.ENVIRONMENT)
    alpha: float = 0.05
    difference: float = 0.05
    min_n: int = 100
    expect: tuple[tuple[str, float], ...] = ()
    severity: str = "page"
    owner: str = ""
    runbook: str = ""
    forget_after: int = 7 * _DAY


@dataclass(frozen=True)
class Limit:
    """A gauge that must not stay above a value for longer than ``lasting`` seconds."""

    name: str
    indicator: str
    above: float
    lasting: int = 900
    severity: str = "ticket"
    owner: str = ""
    runbook: str = ""


@dataclass(frozen=True)
class Spec:
    """Everything that is watched, and what it shares: ``interval`` between evaluations and ``lookback``, in seconds.

    ``grafana`` is the address that the alerts' links begin with.
    """

    charts: tuple[Chart, ...]
    canaries: tuple[Canary, ...] = ()
    limits: tuple[Limit, ...] = field(default=())
    interval: int = 15
    lookback: int = 3600
    grafana: str = "http://localhost:3000"
    version: int = VERSION


def default_path() -> Path:
    """The shipped ``spc.yaml``."""
    return Path(__file__).with_name("spc.yaml")


def load(path: str | Path | None = None) -> Spec:
    """Read a spec; None reads the shipped one.

    Raises `SpecError` with the path and the line of the fault, or OSError if the file cannot be read.
    """
    source = default_path() if path is None else Path(path)
    try:
        text = source.read_text(encoding="utf-8")
        document: Any = yaml.safe_load(text)
    except UnicodeDecodeError as error:
        raise SpecError("", f"{source} is not UTF-8: {error.reason} at byte {error.start}") from error
    except yaml.YAMLError as error:
        raise SpecError("", f"{source} is not YAML: {' '.join(str(error).split())}") from error
    try:
        return parse(document)
    except SpecError as error:
        raise error.at(lines_of(text)) from None


def parse(document: object) -> Spec:
    """A spec from its parsed document. Raises `SpecError` with the path of the first fault."""
    from backspan.rules.reading import read_spec

    return read_spec(document)
