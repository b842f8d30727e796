"""Each scenario has its test, and what the versions of the client lack is what the table says."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import openai
import pytest

import backspan
from tests.contract import versions
from tests.contract.scenarios import SCENARIOS, shows


def _shown(source: str) -> set[str]:
    """The scenarios named in the decorators of the tests in ``source``."""
    found: set[str] = set()
    for test in ast.walk(ast.parse(source)):
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
            calls = [mark for mark in test.decorator_list if isinstance(mark, ast.Call)]
            named = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "shows"]
            found |= {ast.literal_eval(argument) for call in named for argument in call.args}
    return found


def test_each_scenario_has_a_test():
    files = Path(__file__).parent.glob("test_*.py")
    assert set().union(*(_shown(file.read_text(encoding="utf-8")) for file in files)) == set(SCENARIOS)


def test_twin_a_scenario_without_a_test_is_noticed():
    assert _shown("@shows('cut')\ndef helper(): ...\n\n@shows('raw')\ndef test_it(): ...\n") == {"raw"}
    with pytest.raises(KeyError):
        shows("no such thing")


def test_the_wheel_is_tested_where_it_is_installed():
    """The matrix says so; here it is the source."""
    installed = "site-packages" in Path(backspan.__file__).parts
    assert installed is bool(os.environ.get("CONTRACT_INSTALLED"))


def test_the_client_has_what_the_table_says():
    with openai.OpenAI(base_url="http://127.0.0.1:9", api_key="k") as client:
        beta = getattr(client.beta, "chat", None)
        home = [client.chat.completions, getattr(beta, "completions", None)]
        found = {
            "parse": any(hasattr(place, "parse") for place in home),
            "helper": any(hasattr(place, "stream") for place in home),
            "responses": hasattr(client, "responses"),
        }
    assert found == {name: versions.has(name) for name in versions.SINCE}
