"""The alert that asks for a rollback. Its labels and annotations are a contract: Alertmanager posts them to a webhook.

Labels: ``alertname`` (BackspanCanaryWorse), ``canary``, ``indicator``, ``variant``, ``verdict`` ("worse"),
``severity``, ``owner`` if there is one, and the labels of `within` such as ``service_name``. Annotations for a program,
all of them texts: ``variant``, ``verdict``, ``control``, ``by`` (the key that tells the variants apart),
``evidence``, ``limit``, ``variant_n``, ``variant_bad``, ``variant_rate``, ``control_n``, ``control_bad``,
``control_rate``, ``difference``, ``since`` (Unix seconds). A number that Prometheus no longer has is "?". Names are
only ever added.
"""

from __future__ import annotations

from typing import Any

from backspan.rules import series
from backspan.rules._node import write_duration
from backspan.rules.canary_series import ALERT, CANARY, VARIANT, VERDICT, equal, own, select, within
from backspan.rules.indicators import INDICATORS
from backspan.rules.labels import owned
from backspan.rules.spec import Canary
from backspan.rules.templates import COUNT, EXACT, RATE, WHEN, looked_up, named, remembered

IDLE = 2 * 3600
"""Seconds after its last event for which a variant that is worse still alarms: then it has been turned off."""
HOLD = 300
"""Seconds for which the alert stays: evidence that wavers around its limit is one alert."""


def alert_rule(canary: Canary) -> dict[str, Any]:
    """The alerting rule. It waits for nothing: the evidence may be looked at at any time."""
    labels = {"severity": canary.severity, VERDICT: "worse"}
    return {
        "alert": ALERT,
        "expr": condition(canary),
        "for": "0s",
        "keep_firing_for": write_duration(HOLD),
        "labels": owned(labels, canary.owner),
        "annotations": {**_for_people(canary), **_for_programs(canary)},
    }


def condition(canary: Canary) -> str:
    """PromQL of the variants that are worse and still in use; the value is the evidence."""
    worse = own("verdict", canary, equal(VERDICT, "worse"))
    return (
        f"{own('evidence', canary)}\nand ignoring ({VERDICT}) {worse}\n"
        f"and {select('at', canary)} > time() - {IDLE}"
    )


def _said(canary: Canary) -> str:
    return remembered({CANARY: canary.name}, [series.INDICATOR, VARIANT, *within(canary)])


def _of(name: str, form: str) -> str:
    return looked_up(f"spc:canary_{name}", form)


def _for_people(canary: Canary) -> dict[str, str]:
    rate, rate0, n, n0, bad, bad0 = (
        _of(name, _form(canary) if "rate" in name else COUNT)
        for name in ("rate", "control_rate", "n", "control_n", "bad", "control_bad"))
    looked_at = " and ".join(canary.indicators)
    found = {
        "summary": f"{_said(canary)}{canary.name}: variant {{{{ $labels.{VARIANT} }}}} is worse than {canary.control}"
        f" by {{{{ $labels.{series.INDICATOR} }}}}: {rate} ({bad} of {n}) against {rate0} ({bad0} of {n0});"
        f"{named(within(canary))}",
        "promise": f"a variant that is no worse is called so, by any of {looked_at}, with a chance of {canary.alpha:g}"
        " at most, however often it is looked at",
        "first_seen": f"{_said(canary)}{_of('since', WHEN)}",
        "action": f"turn the variant off; the alert ends {write_duration(IDLE)} after its last event",
    }
    return {**found, "runbook_url": canary.runbook} if canary.runbook else found


def _form(canary: Canary) -> str:
    shares = all(INDICATORS[name].unit == "percentunit" for name in canary.indicators)
    return RATE if shares else "humanize"


def _for_programs(canary: Canary) -> dict[str, str]:
    numbers = {"limit": "limit", "variant_n": "n", "variant_bad": "bad", "variant_rate": "rate",
               "control_n": "control_n", "control_bad": "control_bad", "control_rate": "control_rate",
               "difference": "difference", "since": "since"}
    whole = ("since", "variant_n", "control_n")
    return {
        "variant": f"{{{{ $labels.{VARIANT} }}}}",
        "verdict": "worse",
        "control": canary.control,
        "by": canary.by,
        "evidence": f"{{{{ $value | {EXACT} }}}}",
        **{name: f"{_said(canary)}{_of(found, COUNT if name in whole else EXACT)}" for name, found in numbers.items()},
    }
