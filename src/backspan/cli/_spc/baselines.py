"""``baselines.yml``: baselines that a person set, as a rule file that Prometheus reads beside the generated ones.

Each baseline is two rules of constant value, `spc:baseline_p0` and `spc:baseline_phi`, under comments that say where it
comes from. Comments stay with their rules when the file is written again.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, cast

import yaml

from backspan import semconv
from backspan.cli._spc.embedded import cohorts_of
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.history import Cohort, cohort_of
from backspan.cli._spc.http import mapping
from backspan.rules import series
from backspan.rules._node import write_duration
from backspan.rules.counting import number
from backspan.rules.spec import Chart, Spec
from backspan.spc.phases import FROZEN, REBASED, Effective

GROUP = "backspan_spc_baselines"
HEADER = """\
# Baselines that a person set: written by `backspan spc fit`, which keeps what it does not set anew. Safe to edit.
# Prometheus must read it beside the generated rules.
"""
_VECTOR = re.compile(r"\s*vector\(\s*([-+0-9.eE]+)\s*\)\s*")


@dataclass(frozen=True)
class Baseline:
    """One cohort's baseline; ``comments`` are the lines above it, without ``#``."""

    chart: str
    cohort: Cohort
    p0: float
    phi: float
    phase: str = FROZEN
    reason: str = ""
    comments: tuple[str, ...] = ()

    @property
    def key(self) -> tuple[str, Cohort]:
        """What it is the baseline of."""
        return self.chart, self.cohort

    @property
    def effective(self) -> Effective:
        """As the detectors take it."""
        return Effective(self.p0, self.phi, self.phase)


Book = dict[tuple[str, Cohort], Baseline]


def overrides(book: Mapping[tuple[str, Cohort], Baseline], chart: str) -> dict[Cohort, Effective]:
    """The baselines of one chart, as `backspan.cli._spc.replay` takes them."""
    return {cohort: one.effective for (name, cohort), one in book.items() if name == chart}


def write(spec: Spec, book: Iterable[Baseline]) -> str:
    """The text of the file, in a fixed order."""
    lines = [HEADER + "groups:", f"- name: {GROUP}", f"  interval: {write_duration(spec.interval)}", "  rules:"]
    for one in sorted(book, key=lambda b: (b.chart, b.cohort)):
        lines += [f"  # {line}" for line in one.comments]
        for name, value in ((series.BASELINE_P0, one.p0), (series.BASELINE_PHI, one.phi)):
            lines += [f"  - record: {name}", f"    expr: vector({number(value)})", "    labels:"]
            lines += [f"      {key}: {_quoted(text)}" for key, text in _labels(one).items()]
    return "\n".join(lines) + "\n"


def _labels(one: Baseline) -> dict[str, str]:
    partition, values = one.cohort
    found = {series.CHART: one.chart, series.PARTITION: partition}
    found.update({semconv.prometheus_label(key): value for key, value in values})
    found[series.PHASE] = one.phase
    return {**found, **({series.REASON: one.reason} if one.reason else {})}


def _quoted(text: str) -> str:
    return yaml.dump(text, default_style='"', allow_unicode=True, width=10_000).strip()


def read(path: Path, spec: Spec) -> Book:
    """The baselines of a file; none if there is no such file. Raises `Fault` for one that is not ours."""
    try:
        text = path.read_text(encoding="utf-8")
        document: Any = yaml.safe_load(text)
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise Fault(f"{path}: {error}") from None
    except yaml.YAMLError as error:
        raise Fault(f"{path} is not YAML: {' '.join(str(error).split())}") from None
    if document is None:
        return {}
    try:
        groups = document["groups"]
        rules = cast("list[dict[str, Any]]", [rule for group in groups for rule in group["rules"] or ()])
        if any(group["name"] != GROUP for group in groups):
            raise KeyError
    except (KeyError, TypeError):
        raise Fault(f"{path} is not a file of `backspan spc fit`: it must hold the group {GROUP} alone") from None
    return _book(path, rules, _comments(text, root), spec)


def _book(path: Path, rules: list[dict[str, Any]], comments: list[tuple[str, ...]], spec: Spec) -> Book:
    charts = {chart.name: chart for chart in spec.charts}
    found: Book = {}
    phis: dict[tuple[str, Cohort], float] = {}
    for rule, above in zip(rules, comments, strict=True):
        labels = {key: str(value) for key, value in mapping(rule.get("labels")).items()}
        chart = charts.get(labels.get(series.CHART, ""))
        if chart is None:
            raise Fault(
                f"{path}: chart {labels.get(series.CHART)!r} is not in the spec: remove its rules, or give --spec")
        key, value = (chart.name, _cohort(path, chart, labels)), _value(path, rule)
        if rule["record"] == series.BASELINE_PHI:
            phis[key] = value
            continue
        phase, reason = labels.get(series.PHASE, FROZEN), labels.get(series.REASON, "")
        if phase not in (FROZEN, REBASED):
            raise Fault(f"{path}: phase must be {FROZEN} or {REBASED}, got {phase!r}")
        found[key] = Baseline(*key, value, 1.0, phase, reason, above)
    return {key: _with_phi(one, phis.get(key, 1.0)) for key, one in found.items()}


def _with_phi(one: Baseline, phi: float) -> Baseline:
    return Baseline(one.chart, one.cohort, one.p0, max(1.0, phi), one.phase, one.reason, one.comments)


def _cohort(path: Path, chart: Chart, labels: Mapping[str, str]) -> Cohort:
    partition = cohorts_of(chart).get(labels.get(series.PARTITION, ""))
    if partition is None:
        raise Fault(f"{path}: chart {chart.name} has no partition {labels.get(series.PARTITION)!r}")
    return cohort_of(partition, labels)


def _value(path: Path, rule: Mapping[str, Any]) -> float:
    said = _VECTOR.fullmatch(str(rule.get("expr", "")))
    if rule.get("record") not in (series.BASELINE_P0, series.BASELINE_PHI) or said is None:
        raise Fault(f"{path}: a rule that is no baseline: {str(dict(rule))[:80]}")
    try:
        value = float(said[1])
    except ValueError:
        value = float("nan")
    if not isfinite(value) or value <= 0:
        raise Fault(f"{path}: {said[0].strip()} is no rate")
    return value


def _comments(text: str, root: Any) -> list[tuple[str, ...]]:
    """The comment lines right above each rule."""
    lines = text.splitlines()
    found: list[tuple[str, ...]] = []
    for rule in _rules(root):
        at = int(rule.start_mark.line)
        above = list[str]()
        while at > 0 and lines[at - 1].lstrip().startswith("#"):
            at -= 1
            above.insert(0, lines[at].strip().lstrip("#").strip())
        found.append(tuple(above))
    return found


def _rules(root: Any) -> list[Any]:
    def child(node: Any, name: str) -> Any:
        return next((value for key, value in node.value if key.value == name), None)

    groups = child(root, "groups").value
    return [rule for group in groups for rule in getattr(child(group, "rules"), "value", None) or ()]
