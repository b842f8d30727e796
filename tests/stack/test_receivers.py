"""The examples in collector/alertmanager.yml, with their comment signs taken away, are accepted by Alertmanager."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.stack.test_validators import alertmanager

from backspan._assets import asset

pytestmark = pytest.mark.stack
FILE = asset("collector") / "alertmanager.yml"
_OPENS = re.compile(r"(- )?[a-z_]+:( |$)")
_COMMENT = re.compile(r"( *)# (.*)")


def uncommented(text: str) -> str:
    """Every block of comment lines that begins like YAML, without its ``# ``; prose stays a comment."""
    lines: list[str] = []
    inside = False
    for line in text.splitlines():
        found = _COMMENT.fullmatch(line)
        if found is None or found[2].startswith("---"):
            inside = False
        elif _OPENS.match(found[2]) or (inside and found[2].startswith(" ")):
            inside, line = True, found[1] + found[2]
        else:
            inside = False
        lines.append(line)
    return "\n".join(lines) + "\n"


@pytest.fixture
def examples() -> str:
    return uncommented(FILE.read_text(encoding="utf-8"))


def accepted(text: str, folder: Path) -> bool:
    path = folder / "alertmanager.yml"
    path.write_text(text, encoding="utf-8")
    return alertmanager(path)


def test_every_example_is_accepted(examples: str, tmp_path: Path) -> None:
    document: dict[str, Any] = yaml.safe_load(examples)
    receivers = {one["name"]: set(one) - {"name"} for one in document["receivers"]}
    assert receivers["tickets"] == {"slack_configs", "email_configs", "webhook_configs"}
    assert receivers["pager"] == {"webhook_configs", "pagerduty_configs"}
    assert receivers["rollback"] == {"webhook_configs"} and "smtp_smarthost" in document["global"]
    assert [route["receiver"] for route in document["route"]["routes"]] == ["rollback", "pager", "quiet"]
    assert document["inhibit_rules"]
    assert accepted(examples, tmp_path)


@pytest.mark.parametrize(("key", "wrong"), [
    ("api_url_file: /etc/alertmanager/slack_url", "api_url: /etc/alertmanager/slack_url"),
    ("smtp_smarthost: smtp.example.com:587", "smtp_host: smtp.example.com:587"),
    ("- to: llm-team@example.com", "- address: llm-team@example.com"),
    ("routing_key_file:", "key_file:"), ("max_alerts: 0", "most: 0"), ("- name: rollback", "- name: back"),
])
def test_a_spoilt_example_is_refused(examples: str, tmp_path: Path, key: str, wrong: str) -> None:
    assert key in examples
    assert not accepted(examples.replace(key, wrong), tmp_path)
