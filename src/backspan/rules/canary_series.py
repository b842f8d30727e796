"""Labels and selectors of a canary's series."""

from __future__ import annotations

from typing import Final

from backspan import semconv
from backspan.rules import series
from backspan.rules.counting import fresh
from backspan.rules.spec import Canary

CANARY: Final = "canary"
VARIANT: Final = "variant"
VERDICT: Final = "verdict"
EXPECT: Final = "expect"

ALERT: Final = "BackspanCanaryWorse"
"""A variant is worse than the control. Labels: canary, indicator, variant, verdict, severity, those of `within`."""
ALERT_SPLIT: Final = "BackspanSampleRatioMismatch"
"""The variants do not get the traffic that the spec expects. Labels: canary, severity, those of `within`."""


def select(name: str, canary: Canary, *more: str) -> str:
    """``spc:canary_<name>{canary="..."}`` with more matchers."""
    return f"spc:canary_{name}{{{','.join([equal(CANARY, canary.name), *(m for m in more if m)])}}}"


def own(name: str, canary: Canary, *more: str) -> str:
    """What this very evaluation recorded of ``spc:canary_<name>``."""
    return fresh(select(name, canary, *more))


def equal(label: str, value: str, compared: str = "=") -> str:
    """A matcher."""
    return f"{label}{compared}{quoted(value)}"


def quoted(value: str) -> str:
    """A PromQL string."""
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def stat(name: str) -> str:
    """Matcher of one statistic."""
    return equal(series.STAT, name)


def within(canary: Canary) -> list[str]:
    """Prometheus labels that the arms of a comparison share."""
    return [semconv.prometheus_label(key) for key in canary.within]


def by_arm(canary: Canary, selector: str) -> str:
    """Sum by arm of what is new in ``selector``; the label that tells the arms apart becomes ``variant``."""
    by = semconv.prometheus_label(canary.by)
    labels = ", ".join([*within(canary), VARIANT])
    return f'sum by ({labels}) (label_replace({fresh(selector)}, "{VARIANT}", "$1", "{by}", "(.+)"))'
