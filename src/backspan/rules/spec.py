"""The declarative spec (``spc.yaml``): what is watched, in which cohorts, with which false-alarm promise.

The shipped one (`load` without a path) is ``spc.yaml`` beside this file; its comments explain the keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from backspan import semconv
from backspan.rules._node import Node, SpecError
from backspan.rules.indicators import INDICATORS, Indicator
from backspan.spc.shiryaev import ALTERNATIVES, CAP_ABOVE_LIMIT, P_MAX, MixtureSR, threshold

__all__ = ["Baseline", "Chart", "Partition", "Spec", "SpecError", "default_path", "load", "parse"]

VERSION = 1
SEVERITIES = ("page", "ticket", "info")
COHORT_KEYS = (*semconv.PROMOTED, *semconv.DIMENSIONS)
"""OpenTelemetry keys that every feedback series carries, so that a cohort can be made of them."""

_INTERVAL, _LOOKBACK, _WINDOW = 15, 6 * 3600, 3600
_KEEP, _IDLE, _FORGET = 3600, 2 * 3600, 7 * 86400
_DAY = 86400


@dataclass(frozen=True)
class Partition:
    """One division of the rated events into cohorts: ``by`` are OpenTelemetry keys, `labels` their Prometheus names."""

    name: str
    by: tuple[str, ...]

    @property
    def labels(self) -> tuple[str, ...]:
        """Prometheus label names of ``by``."""
        return tuple(semconv.prometheus_label(key) for key in self.by)


@dataclass(frozen=True)
class Baseline:
    """Where the accepted rate comes from: ``kind`` "given" with ``p0`` in 0..0.95 (exclusive)."""

    kind: str
    p0: float


@dataclass(frozen=True)
class Chart:
    """One chart. Durations are seconds; ``false_alarm_every`` counts rated events of the whole system."""

    name: str
    indicator: str
    partitions: tuple[Partition, ...]
    false_alarm_every: int
    baseline: Baseline
    n_ref: int = 10
    alternatives: tuple[float, ...] = ALTERNATIVES
    window: int = _WINDOW
    severity: str = "page"
    owner: str = ""
    runbook: str = ""
    keep_firing_for: int = _KEEP
    idle_after: int = _IDLE
    forget_after: int = _FORGET

    @property
    def limit(self) -> float:
        """ln R at which the chart alarms; the same for every cohort of every partition."""
        return threshold(self.false_alarm_every, self.n_ref, len(self.partitions))

    @property
    def cap(self) -> float:
        """Upper end of ln R, so that an incident is not remembered for as long as it lasted."""
        return self.limit + CAP_ABOVE_LIMIT

    @property
    def watched(self) -> Indicator:
        """The catalogue entry that the chart names."""
        return INDICATORS[self.indicator]

    def detector(self) -> MixtureSR:
        """A new detector for one cohort: it alarms when ``step(n, bad) >= limit``."""
        return MixtureSR(self.baseline.p0, self.alternatives, self.n_ref, self.cap)


@dataclass(frozen=True)
class Spec:
    """All charts, and what they share: ``interval`` between evaluations and ``lookback``, in seconds."""

    charts: tuple[Chart, ...]
    interval: int = _INTERVAL
    lookback: int = _LOOKBACK
    version: int = VERSION


def default_path() -> Path:
    """The shipped ``spc.yaml``."""
    return Path(__file__).with_name("spc.yaml")


def load(path: str | Path | None = None) -> Spec:
    """Read a spec; None reads the shipped one.

    Raises `SpecError` with the path of the fault, or OSError if the file cannot be read.
    """
    source = default_path() if path is None else Path(path)
    try:
        document: Any = yaml.safe_load(source.read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise SpecError("", f"{source} is not UTF-8: {error.reason} at byte {error.start}") from error
    except yaml.YAMLError as error:
        raise SpecError("", f"{source} is not YAML: {' '.join(str(error).split())}") from error
    return parse(document)


def parse(document: object) -> Spec:
    """A spec from its parsed document. Raises `SpecError` with the path of the first fault."""
    root = Node("", document).fields(("version", "charts"), ("interval", "lookback"))
    if root["version"].integer(1, 1_000_000) != VERSION:
        root["version"].fail(f"this release reads version {VERSION}, got {root['version'].value}")
    interval = root["interval"].duration(1, 299) if "interval" in root else _INTERVAL
    lookback = root["lookback"].duration(600, 30 * _DAY) if "lookback" in root else _LOOKBACK
    charts: list[Chart] = []
    for node in root["charts"].items():
        chart = _chart(node, interval)
        if chart.name in {c.name for c in charts}:
            raise SpecError(f"{node.path}.name", f"{chart.name!r} is taken by another chart")
        charts.append(chart)
    return Spec(tuple(charts), interval, lookback)


def _chart(node: Node, interval: int) -> Chart:
    required = ("name", "indicator", "cohorts", "false_alarm_every", "baseline")
    options: dict[str, Callable[[Node], Any]] = {
        "n_ref": lambda n: n.integer(1, 10_000),
        "alternatives": lambda n: tuple(sorted(item.number(1, 1000) for item in n.items())),
        "window": lambda n: _window(n, interval),
        "severity": lambda n: n.choice(SEVERITIES),
        "owner": Node.text,
        "runbook": Node.text,
        "keep_firing_for": lambda n: n.duration(0, 7 * _DAY),
        "idle_after": lambda n: n.duration(60, 30 * _DAY),
        "forget_after": lambda n: n.duration(3600, 365 * _DAY),
    }
    fields = node.fields(required, tuple(options))
    given: dict[str, Any] = {key: read(fields[key]) for key, read in options.items() if key in fields}
    _distinct(fields.get("alternatives"), given.get("alternatives", ()))
    n_ref = given.get("n_ref", 10)
    return Chart(
        name=fields["name"].name(),
        indicator=fields["indicator"].choice(tuple(INDICATORS)),
        partitions=_partitions(fields["cohorts"]),
        false_alarm_every=fields["false_alarm_every"].integer(10 * n_ref, 10**12),
        baseline=_baseline(fields["baseline"]),
        **given,
    )


def _window(node: Node, interval: int) -> int:
    seconds = node.duration(60, 30 * _DAY)
    if seconds % interval:
        node.fail(f"must be a multiple of the interval of {interval}s, got {node.value}")
    return seconds


def _distinct(node: Node | None, values: tuple[float, ...]) -> None:
    if node is not None and len(set(values)) != len(values):
        node.fail("every alternative must be given once")


def _partitions(node: Node) -> tuple[Partition, ...]:
    found: list[Partition] = []
    for name, child in node.mapping().items():
        by = tuple(item.choice(COHORT_KEYS) for item in child.items())
        Node(child.path, name).name()
        if len(set(by)) != len(by):
            child.fail("every key must be given once")
        if set(by) in [set(p.by) for p in found]:
            child.fail("another partition has the same keys")
        found.append(Partition(name, by))
    if not found:
        node.fail("must name at least one partition, such as service: [service.name]")
    return tuple(found)


def _baseline(node: Node) -> Baseline:
    kind = node.mapping().get("kind")
    if kind is not None and kind.value == "learnt":
        kind.fail("this release has no learnt baselines: give the accepted rate, as in {kind: given, p0: 0.10}")
    fields = node.fields(("kind", "p0"))
    return Baseline(fields["kind"].choice(("given",)), fields["p0"].number(0, P_MAX))
