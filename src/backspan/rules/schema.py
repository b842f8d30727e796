"""The spec as a JSON schema, for editors that complete and check YAML while it is written.

It says what a mapping, a list and a value look like; what only makes sense together (an inheritance among the keys of
a partition, a window that is a multiple of the interval) is said by `backspan.rules.reading` alone, with the line.
"""

from __future__ import annotations

import json
from typing import Any

from backspan import semconv
from backspan.rules.indicators import INDICATORS
from backspan.rules.spec import SEVERITIES, VERSION
from backspan.spc.shiryaev import P_MAX

URL = "https://json-schema.org/draft/2020-12/schema"
_NAME = {"type": "string", "pattern": "^[a-z][a-z0-9_]{0,63}$"}
_TEXT = {"type": "string", "minLength": 1}


def text() -> str:
    """The schema as it is committed."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"


def schema() -> dict[str, Any]:
    """The schema of ``spc.yaml``."""
    return {
        "$schema": URL,
        "title": "backspan spc.yaml",
        **_mapping({
            "version": {"const": VERSION},
            "interval": _duration("How often the rules run; below 5m."),
            "lookback": _duration("The longest outage over which counting goes on."),
            "grafana": {"type": "string", "pattern": "^https?://", "description": "Where the links of alerts lead."},
            "charts": {"type": "array", "minItems": 1, "items": _chart()},
            "canaries": {"type": "array", "minItems": 1, "items": _canary()},
            "limits": {"type": "array", "minItems": 1, "items": _limit()},
        }, "version", "charts"),
    }


def _mapping(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(required), "additionalProperties": False}


def _duration(description: str) -> dict[str, Any]:
    return {"type": "string", "pattern": "^([0-9]+(d|h|m|s))+$", "description": description}


def _one_of(description: str, *values: str) -> dict[str, Any]:
    return {"enum": list(values), "description": description}


def _number(description: str, **bounds: float) -> dict[str, Any]:
    return {"type": "number", **bounds, "description": description}


def _integer(description: str, low: int) -> dict[str, Any]:
    return {"type": "integer", "minimum": low, "description": description}


def _keys(description: str) -> dict[str, Any]:
    known = sorted({key for indicator in INDICATORS.values() for key in indicator.keys})
    return {"type": "array", "minItems": 1, "uniqueItems": True, "items": {"enum": known}, "description": description}


def _indicator(description: str, *kinds: str) -> dict[str, Any]:
    found = [one for one in INDICATORS.values() if one.kind in kinds]
    choices = [{"const": one.name, "description": one.description} for one in found]
    return {"oneOf": choices, "description": description}


def _who() -> dict[str, Any]:
    return {
        "severity": _one_of("page wakes somebody, ticket waits for the morning, info is drawn.", *SEVERITIES),
        "owner": {**_TEXT, "description": "Label of the alert: who is responsible."},
        "runbook": {**_TEXT, "description": "Where the alert sends whoever is woken."},
    }


def _chart() -> dict[str, Any]:
    cohort = {"oneOf": [_keys("Keys whose values make a cohort."), _mapping({
        "by": _keys("Keys whose values make a cohort."),
        "inherit": {"oneOf": [_keys("Keys of the parent, whose baseline a new cohort uses."), {"const": False}]},
    }, "by")]}
    properties = {
        "name": {**_NAME, "description": "Name of the chart, of its file and of its rule group; do not change it."},
        "indicator": _indicator("What is watched, from the catalogue.", "share", "rate"),
        "promql": _promql(),
        "cohorts": {"type": "object", "minProperties": 1, "propertyNames": _NAME, "additionalProperties": cohort,
                    "description": "Divisions of the events; each is watched on its own."},
        "false_alarm_every": {"oneOf": [_integer("Rated events of the whole system.", 10),
                                        _duration("Time, turned into events by the measured volume.")],
                              "description": "At most one false alarm in so many events or days, on average."},
        "baseline": _baseline(),
        "direction": _one_of("Which change is looked for; both makes two charts.", "worse", "better", "both"),
        "chart": _one_of("What is drawn; auto chooses and says why.", "auto", "p", "u", "g"),
        "where": {"type": "object", "additionalProperties": _TEXT,
                  "description": "Labels that narrow the bad events, such as reason."},
        "tickets": {"type": "boolean", "description": "Whether rules of the drawn chart open tickets."},
        "slo": _mapping({
            "objective": _number("Share of events that must be good.", exclusiveMinimum=0.5, exclusiveMaximum=1),
            "period": _duration("Over which the objective holds; 28d unless given."),
            "severity": _one_of("Of the fast burn.", *SEVERITIES),
        }, "objective"),
        "window": _duration("Sliding window that is drawn, and step of learning; 1h unless given."),
        "n_ref": _integer("Events that count as one step of the evidence.", 1),
        "alternatives": {"type": "array", "minItems": 1, "uniqueItems": True,
                         "items": _number("Multiple of the accepted rate.", exclusiveMinimum=1),
                         "description": "How much worse the regressions are that the evidence is tuned for."},
        "keep_firing_for": _duration("How long an alert is held after its condition ended."),
        "idle_after": _duration("A cohort without events for so long no longer alarms."),
        "forget_after": _duration("A cohort without events for so long is forgotten."),
        **_who(),
    }
    chart = _mapping(properties, "name", "cohorts", "false_alarm_every", "baseline")
    return {**chart, "oneOf": [{"required": ["indicator"]}, {"required": ["promql"]}]}


def _promql() -> dict[str, Any]:
    selector = {**_TEXT, "description": "Plain selector of a counter."}
    return _mapping({
        "total": selector, "bad": selector, "kind": _one_of("What the two are.", "share", "rate"),
        "worse": _one_of("Which way is worse.", "up", "down"), "description": _TEXT,
    }, "total", "bad")


def _baseline() -> dict[str, Any]:
    learnt = _mapping({
        "kind": {"const": "learnt"}, "ratings": _integer("Fewest rated events to learn from.", 50),
        "windows": _integer("Fewest windows to learn from.", 5),
    }, "kind")
    given = _mapping({
        "kind": {"const": "given"},
        "p0": _number(f"Accepted rate; a share lies below {P_MAX}.", exclusiveMinimum=0),
        "phi": _number("Dispersion, 1 if events are independent.", minimum=1),
    }, "kind", "p0")
    return {"oneOf": [{"const": "learnt"}, learnt, given], "description": "Where the accepted rate comes from."}


def _canary() -> dict[str, Any]:
    keys = [*semconv.DIMENSIONS, "service.version"]
    return _mapping({
        "name": _NAME,
        "indicators": {"type": "array", "minItems": 1, "uniqueItems": True,
                       "items": _indicator("Compared between the variants.", "share", "rate")},
        "by": _one_of("The key that tells the variants apart.", *keys),
        "control": {**_TEXT, "description": "Its value for the control."},
        "within": _keys("What a variant and its control share."),
        "alpha": _number("Chance of a wrong verdict over the life of the comparison.",
                         exclusiveMinimum=0, exclusiveMaximum=0.5),
        "difference": _number("Smallest difference of rates that matters.", exclusiveMinimum=0, exclusiveMaximum=1),
        "min_n": _integer("Fewest events per arm.", 10),
        "expect": {"type": "object", "minProperties": 2, "description": "Share of traffic that each variant gets.",
                   "additionalProperties": _number("Share.", exclusiveMinimum=0, exclusiveMaximum=1)},
        "forget_after": _duration("An arm without events for so long is forgotten."),
        **_who(),
    }, "name", "indicators")


def _limit() -> dict[str, Any]:
    return _mapping({
        "name": _NAME, "indicator": _indicator("A gauge.", "gauge"),
        "above": _number("Value that must not be passed."), "for": _duration("For longer than this."), **_who(),
    }, "name", "indicator", "above")
