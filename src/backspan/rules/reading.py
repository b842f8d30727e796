"""From a parsed document to the records of `backspan.rules.spec`; every complaint names its path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from backspan import semconv
from backspan.rules._node import Node, SpecError
from backspan.rules.indicators import INDICATORS, Events, Indicator
from backspan.rules.spec import (
    INHERITED,
    SEVERITIES,
    VERSION,
    Baseline,
    Canary,
    Chart,
    Limit,
    Partition,
    Promise,
    Slo,
    Spec,
)
from backspan.spc.shiryaev import P_MAX

_DAY = 86400
_MOST_KEYS, _MOST_PARTITIONS = 3, 6
"""More keys than that besides service and environment multiply to more cohorts than anybody can look at."""
_CHARTS = ("auto", "p", "u", "g")
_RESERVED = ("limits", "baselines", "pipeline")
"""Names of rule files that are no chart's."""
Reader = Callable[[Node], Any]


def read_spec(document: object) -> Spec:
    """The spec that ``document`` says. Raises `SpecError`."""
    root = Node("", document).fields(("version", "charts"), ("interval", "lookback", "grafana", "canaries", "limits"))
    if root["version"].integer(1, 1_000_000) != VERSION:
        root["version"].fail(f"this release reads version {VERSION}, got {root['version'].value}")
    interval = root["interval"].duration(1, 299) if "interval" in root else Spec(()).interval
    lookback = root["lookback"].duration(600, 30 * _DAY) if "lookback" in root else Spec(()).lookback
    charts = [chart for node in root["charts"].items() for chart in _charts(node, interval)]
    canaries = [_canary(node) for node in root["canaries"].items()] if "canaries" in root else []
    limits = [_limit(node) for node in root["limits"].items()] if "limits" in root else []
    grafana = root["grafana"].url() if "grafana" in root else Spec(()).grafana
    _distinct_names(root, charts, canaries, limits)
    return Spec(tuple(charts), tuple(canaries), tuple(limits), interval, lookback, grafana)


def _distinct_names(root: dict[str, Node], *groups: Sequence[Chart | Canary | Limit]) -> None:
    taken: set[str] = set(_RESERVED)
    for key, group in zip(("charts", "canaries", "limits"), groups, strict=True):
        for i, one in enumerate(group):
            if one.name in taken:
                raise SpecError(f"{root[key].path}[{min(i, len(root[key].items()) - 1)}].name",
                                f"{one.name!r} is taken by another chart or by a file of ours")
            taken.add(one.name)


def _given(fields: dict[str, Node], readers: dict[str, Reader]) -> dict[str, Any]:
    return {key: read(fields[key]) for key, read in readers.items() if key in fields}


# --- charts ---------------------------------------------------------------------------------------------------------
def _charts(node: Node, interval: int) -> list[Chart]:
    """One chart, or two for ``direction: both``."""
    options: dict[str, Reader] = {
        "n_ref": lambda n: n.integer(1, 10_000),
        "alternatives": _alternatives,
        "window": lambda n: _window(n, interval),
        "tickets": Node.boolean,
        "slo": _slo,
        "severity": lambda n: n.choice(SEVERITIES),
        "owner": Node.text,
        "runbook": Node.text,
        "keep_firing_for": lambda n: n.duration(0, 7 * _DAY),
        "idle_after": lambda n: n.duration(60, 30 * _DAY),
        "forget_after": lambda n: n.duration(3600, 365 * _DAY),
    }
    asked = ("direction", "chart", "where", "indicator", "promql")
    fields = node.fields(("name", "cohorts", "false_alarm_every", "baseline"), (*asked, *options))
    direction = fields["direction"].choice(("worse", "better", "both")) if "direction" in fields else "worse"
    custom = _promql(node, fields)
    indicator = custom or INDICATORS[_counted(fields["indicator"])]
    given = _given(fields, options)
    if "slo" in fields and indicator.kind != "share":
        fields["slo"].fail(f"needs an indicator that is a share: {indicator.name} is a rate, which has no budget")
    chart = Chart(
        name=fields["name"].name(),
        indicator=indicator.name,
        partitions=_partitions(fields["cohorts"], indicator),
        promise=_promise(fields["false_alarm_every"], given.get("n_ref", 10)),
        baseline=_baseline(fields["baseline"], indicator),
        better=direction == "better",
        custom=custom,
        where=_where(fields, indicator),
        drawn=fields["chart"].choice(_CHARTS) if "chart" in fields else "auto",
        **given,
    )
    return _both(chart, fields) if direction == "both" else [chart]


def _both(chart: Chart, fields: dict[str, Node]) -> list[Chart]:
    """The chart, and one beside it that looks for the good direction: nobody is woken by good news."""
    if chart.promise.events:
        promise = Promise(events=2 * chart.promise.events)
    else:
        promise = Promise(days=2 * (chart.promise.days or 0))
    both = replace(chart, promise=promise)
    name = f"{chart.name}_better"
    if len(name) > 64:
        fields["name"].fail("must be 57 characters at most where the direction is both")
    return [both, replace(both, name=name, better=True, severity="info", slo=None, tickets=False)]


def _counted(node: Node) -> str:
    name = node.choice(tuple(INDICATORS))
    if INDICATORS[name].kind == "gauge":
        node.fail(f"{name} is a gauge: it has no rate; watch it under `limits`")
    return name


def _promql(node: Node, fields: dict[str, Node]) -> Indicator | None:
    """The indicator of free PromQL, or None where the chart names one of the catalogue."""
    if ("promql" in fields) == ("indicator" in fields):
        node.fail("needs either an indicator or promql, and not both")
    if "promql" not in fields:
        return None
    said = fields["promql"].fields(("total", "bad"), ("kind", "worse", "description"))
    kind = said["kind"].choice(("share", "rate")) if "kind" in said else "share"
    falls = "worse" in said and said["worse"].choice(("up", "down")) == "down"
    text = said["description"].text() if "description" in said else "A chart on free PromQL: Prometheus only."
    total, bad = (Events(promql=said[key].selector()) for key in ("total", "bad"))
    return Indicator("promql", text, "rate" if kind == "rate" else "share", total, bad, falls=falls)


def _where(fields: dict[str, Node], indicator: Indicator) -> tuple[tuple[str, str], ...]:
    if "where" not in fields:
        return ()
    if indicator.bad is None or indicator.bad.promql:
        fields["where"].fail(f"cannot narrow {indicator.name}")
    labels = (*semconv.FEEDBACK_LABELS, semconv.LABEL_REASON, *indicator.keys)
    said = fields["where"].mapping()
    for key, value in said.items():
        Node(value.path, key).choice(labels)
    return tuple((key, value.text()) for key, value in said.items())


def _alternatives(node: Node) -> tuple[float, ...]:
    values = tuple(sorted(item.number(1, 1000) for item in node.items()))
    if len(set(values)) != len(values):
        node.fail("every alternative must be given once")
    return values


def _window(node: Node, interval: int) -> int:
    seconds = node.duration(5, 30 * _DAY)
    if seconds % interval or seconds < 2 * interval:
        node.fail(f"must be a multiple of the interval of {interval}s, and two of them at least, got {node.value}")
    return seconds


def _promise(node: Node, n_ref: int) -> Promise:
    if isinstance(node.value, str):
        return Promise(days=node.duration(_DAY, 3650 * _DAY) / _DAY)
    return Promise(events=node.integer(10 * n_ref, 10**12))


def _slo(node: Node) -> Slo:
    fields = node.fields(("objective",), ("period", "severity"))
    readers: dict[str, Reader] = {
        "objective": lambda n: n.number(0.5, 1),
        "period": lambda n: n.duration(7 * _DAY, 90 * _DAY),
        "severity": lambda n: n.choice(SEVERITIES),
    }
    return Slo(**_given(fields, readers))


def _partitions(node: Node, indicator: Indicator) -> tuple[Partition, ...]:
    found: list[Partition] = []
    for name, child in node.mapping().items():
        Node(child.path, name).name()
        partition = _partition(name, child, indicator)
        if set(partition.by) in [set(p.by) for p in found]:
            child.fail("another partition has the same keys")
        found.append(partition)
    if not found:
        node.fail("must name at least one partition, such as service: [service.name]")
    if len(found) > _MOST_PARTITIONS:
        node.fail(f"{len(found)} partitions: every one counts each event again; {_MOST_PARTITIONS} at most")
    return tuple(found)


def _partition(name: str, node: Node, indicator: Indicator) -> Partition:
    """``[keys]``, or ``{by: [keys], inherit: [keys]}``."""
    keys, parent = node, None
    if isinstance(node.value, dict):
        fields = node.fields(("by",), ("inherit",))
        keys, parent = fields["by"], fields.get("inherit")
    by = tuple(item.choice(indicator.keys) for item in keys.items())
    if len(set(by)) != len(by):
        keys.fail("every key must be given once")
    if len([key for key in by if key not in semconv.PROMOTED]) > _MOST_KEYS:
        keys.fail(f"would explode into cohorts: {_MOST_KEYS} keys at most besides those of the service")
    return Partition(name, by, _inherit(parent, by))


def _inherit(node: Node | None, by: tuple[str, ...]) -> tuple[str, ...]:
    if node is None:
        rest = tuple(key for key in by if key not in INHERITED)
        return rest if rest and rest != by else ()
    if node.value is False:
        return ()
    keys = tuple(item.choice(by) for item in node.items())
    if len(keys) >= len(by):
        node.fail("must be fewer keys than `by`, or false")
    return keys


def _baseline(node: Node, indicator: Indicator) -> Baseline:
    if node.value == "learnt":
        return Baseline("learnt")
    kind = node.mapping().get("kind")
    if kind is not None and kind.value == "learnt":
        fields = node.fields(("kind",), ("ratings", "windows"))
        readers: dict[str, Reader] = {
            "ratings": lambda n: n.integer(50, 10**9), "windows": lambda n: n.integer(5, 10_000)}
        return Baseline("learnt", **_given(fields, readers))
    fields = node.fields(("kind", "p0"), ("phi",))
    top = P_MAX if not indicator.falls else 1.0
    p0 = fields["p0"].number(0, 10**9 if indicator.kind == "rate" else top)
    phi = fields["phi"].number(0.999, 1000) if "phi" in fields else 1.0
    return Baseline(fields["kind"].choice(("given", "learnt")), p0, max(1.0, phi))


# --- canaries and limits --------------------------------------------------------------------------------------------
def _canary(node: Node) -> Canary:
    readers: dict[str, Reader] = {
        "by": lambda n: n.choice((*semconv.DIMENSIONS, "service.version")),
        "control": Node.text,
        "within": lambda n: tuple(item.choice((*semconv.PROMOTED, *semconv.DIMENSIONS)) for item in n.items()),
        "alpha": lambda n: n.number(0, 0.5),
        "difference": lambda n: n.number(0, 1),
        "min_n": lambda n: n.integer(10, 10**9),
        "expect": _expected,
        "severity": lambda n: n.choice(SEVERITIES),
        "owner": Node.text,
        "runbook": Node.text,
        "forget_after": lambda n: n.duration(3600, 365 * _DAY),
    }
    fields = node.fields(("name", "indicators"), tuple(readers))
    names = tuple(_counted(item) for item in fields["indicators"].items())
    if len(set(names)) != len(names):
        fields["indicators"].fail("every indicator must be given once")
    canary = Canary(fields["name"].name(), names, **_given(fields, readers))
    if canary.by in canary.within:
        fields["within"].fail(f"cannot hold {canary.by}, which tells the variants apart")
    for i, name in enumerate(names):
        missing = [key for key in (canary.by, *canary.within) if key not in INDICATORS[name].keys]
        if missing:
            fields["indicators"].items()[i].fail(f"the series of {name} do not carry {', '.join(missing)}")
    return canary


def _expected(node: Node) -> tuple[tuple[str, float], ...]:
    shares = tuple((name, value.number(0, 1)) for name, value in node.mapping().items())
    if len(shares) < 2 or abs(sum(share for _, share in shares) - 1.0) > 1e-6:
        node.fail("must give the shares of at least two variants, and they must add up to 1")
    return shares


def _limit(node: Node) -> Limit:
    gauges = tuple(name for name, one in INDICATORS.items() if one.kind == "gauge")
    readers: dict[str, Reader] = {
        "for": lambda n: n.duration(0, 30 * _DAY),
        "severity": lambda n: n.choice(SEVERITIES),
        "owner": Node.text,
        "runbook": Node.text,
    }
    fields = node.fields(("name", "indicator", "above"), tuple(readers))
    given = _given(fields, readers)
    lasting = {"lasting": given.pop("for")} if "for" in given else {}
    above = fields["above"].number(-1e18, 1e18)
    return Limit(fields["name"].name(), fields["indicator"].choice(gauges), above, **lasting, **given)
