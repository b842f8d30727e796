"""The JSON schema accepts what the reader accepts, and refuses what can be refused without knowing the rest."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from jsonschema import Draft202012Validator
from tests.rules.documents import given

from backspan.rules import schema
from backspan.rules.spec import default_path, parse

CHECK = Draft202012Validator(schema.schema())


def test_the_schema_is_one() -> None:
    Draft202012Validator.check_schema(schema.schema())


def test_the_shipped_spec_fits() -> None:
    assert list(CHECK.iter_errors(yaml.safe_load(default_path().read_text(encoding="utf-8")))) == []


ACCEPTED: list[dict[str, Any]] = [
    {}, {"baseline": "learnt"}, {"baseline": {"kind": "learnt", "ratings": 500, "windows": 10}},
    {"false_alarm_every": "30d"}, {"direction": "both"}, {"slo": {"objective": 0.95}}, {"where": {"reason": "wrong"}},
    {"cohorts": {"prompt": {"by": ["service.name", "gen_ai.prompt.name"], "inherit": ["service.name"]}}},
    {"cohorts": {"prompt": {"by": ["service.name", "gen_ai.prompt.name"], "inherit": False}}},
]


@pytest.mark.parametrize("changed", ACCEPTED, ids=str)
def test_what_the_reader_takes_the_schema_takes(changed: dict[str, Any]) -> None:
    document = given(**changed)
    parse(document)
    assert list(CHECK.iter_errors(document)) == []


REFUSED: list[dict[str, Any]] = [
    {"name": "Thumbs"}, {"indicator": "thumbs_up"}, {"indicator": "input_drift"}, {"baseline": "guessed"},
    {"baseline": {"kind": "given", "p0": 0}}, {"false_alarm_every": "soon"}, {"direction": "up"}, {"colour": "red"},
    {"cohorts": {}}, {"cohorts": {"service": ["user.id"]}}, {"window": 3600}, {"slo": {"objective": 1}},
    {"severity": "fatal"}, {"alternatives": [1]}, {"promql": {"total": "a", "bad": "b"}},
]


@pytest.mark.parametrize("changed", REFUSED, ids=str)
def test_what_the_schema_refuses_the_reader_refuses(changed: dict[str, Any]) -> None:
    document = given(**changed)
    assert list(CHECK.iter_errors(document))
    with pytest.raises(ValueError):
        parse(document)
