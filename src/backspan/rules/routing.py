"""What Alertmanager must know about our alerts: which of them are silent while another one fires, and who is called.

`inhibitions` is made from the spec, because the names of a chart's divisions are the user's; `written` puts it into
``alertmanager.yml``, of which everything else is kept by hand. The rules of inhibition:

1. A page silences the tickets and the news about the same cohort of the same chart.
2. A page of a narrower cohort (a prompt version) silences what its chart says of the broader one (the service), and a
   ticket of a narrower one the ticket of the broader one: one message, with the cohort that is to blame.
3. While the judgements of users are missing, or their coverage pages, the charts that are counted from them are
   silent: for the whole service, or for the cohort that the message is about. Errors, latency, evaluators are not.

No rule silences, or silences by, `BackspanCanaryWorse`: it is a message to a program that turns a variant off, and that
must come, whatever else is wrong. Nor is there one about limits or sample ratios: they say something of their own.

Two alerts never silence each other: rule 1 goes from more severe to less, rule 2 from narrower to broader, and a chart
of coverage (rule 3) is not silenced by the charts that it silences.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backspan import semconv
from backspan.rules import series
from backspan.rules.indicators import INDICATORS
from backspan.rules.spec import Partition, Spec

BEGIN = "# --- inhibitions, made from the spec: do not edit below this line ---"
_COVERAGE = ("feedback_coverage", "feedback_volume")
_BY_USERS = (semconv.USER_THUMBS, semconv.USER_STARS)
_PLACE = (semconv.PROM_SERVICE, semconv.PROM_ENVIRONMENT)
_OF_A_CHART = 'chart != ""'
"""Alerts without a chart (canaries, limits) have no cohorts to compare."""

Rule = dict[str, Any]


def inhibitions(spec: Spec) -> list[Rule]:
    """Alertmanager's ``inhibit_rules`` for the alerts of ``spec``."""
    return [*_less_severe(spec), *_broader(spec), *_without_feedback(spec)]


def written(text: str, spec: Spec) -> str:
    """The text of an ``alertmanager.yml`` with the inhibitions of ``spec`` after `BEGIN`.

    Raises ValueError if the text has no such line.
    """
    kept, mark, _ = text.partition(BEGIN)
    if not mark:
        raise ValueError(f"no line {BEGIN!r} in it")
    lines = "".join(_line(rule) for rule in inhibitions(spec))
    return f"{kept}{BEGIN}\ninhibit_rules:{lines if lines else ' []'}\n"


def _line(rule: Rule) -> str:
    said = [f"{key}: [{', '.join(_quoted(item) for item in rule[key])}]"
            for key in ("source_matchers", "target_matchers", "equal")]
    return "\n  - " + "\n    ".join(said)


def _quoted(item: str) -> str:
    return item if item.isidentifier() else f"'{item}'"


def by_users() -> list[str]:
    """Indicators that are counted from judgements of users, of which nothing is known without these."""
    return [name for name, one in INDICATORS.items()
            if name not in _COVERAGE and one.kind != "gauge" and _judged_by_users(one.total.where)]


def _judged_by_users(where: Mapping[str, str]) -> bool:
    return where.get(semconv.LABEL_NAME) in _BY_USERS or where.get(semconv.LABEL_SOURCE) == semconv.END_USER


def _labels(spec: Spec) -> list[str]:
    """Every label that tells cohorts apart."""
    return list(dict.fromkeys([*_PLACE, *(name for p in _partitions(spec) for name in p.labels)]))


def _partitions(spec: Spec) -> list[Partition]:
    return [partition for chart in spec.charts for partition in chart.partitions]


def _less_severe(spec: Spec) -> list[Rule]:
    return [_rule(["severity = page", _OF_A_CHART], ['severity =~ "ticket|info"'],
                  [series.CHART, series.PARTITION, *_labels(spec)])]


def _broader(spec: Spec) -> list[Rule]:
    """For each pair of divisions of one chart of which one divides the other further."""
    pairs = dict.fromkeys((narrow.name, broad.name, broad.labels) for chart in spec.charts
                          for narrow in chart.partitions for broad in chart.partitions
                          if set(broad.by) < set(narrow.by))
    rules: list[Rule] = []
    for narrow, broad, labels in pairs:
        for source, target in (("page", ""), ("ticket", '=~ "ticket|info"')):
            silenced = [f"partition = {broad}", *([f"severity {target}"] if target else []), _OF_A_CHART]
            rules.append(_rule([f"partition = {narrow}", f"severity = {source}", _OF_A_CHART], silenced,
                               [series.CHART, *labels]))
    return rules


def _without_feedback(spec: Spec) -> list[Rule]:
    wanted = "|".join(by_users())
    target = [f"indicator =~ \"{wanted}\"", _OF_A_CHART]
    narrow = {p.name: p for p in _partitions(spec)}
    whole = "|".join(name for name, p in narrow.items() if set(p.labels) <= {*_PLACE, *_resource()})
    rules: list[Rule] = []
    for source in ([f"alertname = {series.ALERT_MISSING}"],
                   [f"indicator =~ \"{'|'.join(_COVERAGE)}\"", "severity = page", _OF_A_CHART]):
        if whole:
            rules.append(_rule([*source, f"partition =~ \"{whole}\""], target, list(_PLACE)))
        rules.append(_rule(source, target, [series.PARTITION, *_labels(spec)]))
    return rules


def _resource() -> list[str]:
    return [semconv.prometheus_label(key) for key in semconv.PROMOTED]


def _rule(source: list[str], target: list[str], equal: list[str]) -> Rule:
    return {"source_matchers": source, "target_matchers": target, "equal": equal}
