"""Budgets: what is cut, in which order, never through the JSON; and content that is encoded once."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest

import backspan.redact
from backspan import config, semconv
from backspan.instrument import _content, _fit
from backspan.redact import parts
from tests.instrument.conftest import MESSAGES
from tests.instrument.test_content import SCHEMAS, _chat, _responses


@pytest.fixture(autouse=True)
def nothing_counted_before():
    parts.take()


def test_what_the_cutting_leaves_is_whole(monkeypatch):
    """A secret across the end of the budget is masked, or not shown at all."""
    monkeypatch.setenv("BACKSPAN_CONTENT_PART", "1000")
    config.reload()
    key = f"-----BEGIN PRIVATE KEY-----{'Zz9' * 2000}-----END PRIVATE KEY-----"
    for before in ("a" * 900, "a" * 996, "b " * (500 + 10_000), key * 3 + "c" * 13_000):
        said = parts.redacted(before + key + "d" * 50_000)
        assert "Zz9" not in said and len(said) < 1100
        assert said.endswith(" more]")


def test_twin_cutting_first_shows_half_of_a_secret(monkeypatch):
    monkeypatch.setenv("BACKSPAN_CONTENT_PART", "1000")
    config.reload()
    monkeypatch.setattr(parts, "_OVERHANG", 0)
    key = f"-----BEGIN PRIVATE KEY-----{'Zz9' * 2000}-----END PRIVATE KEY-----"
    assert "Zz9" in parts.redacted("a" * 900 + key + "d" * 50_000)


# --- size -----------------------------------------------------------------------------------------------------------
def _put(items: list[Any], key: str = semconv.INPUT_MESSAGES, **budgets: str) -> dict[str, Any]:
    attributes: dict[str, Any] = {}
    _fit.put_content(attributes, key, items)
    return attributes


def _said(role: str, text: str) -> dict[str, Any]:
    return {"role": role, "parts": [_content.text_part(text)]}


@pytest.fixture
def budgets(monkeypatch):
    def set_to(**most: int) -> None:
        for name, value in most.items():
            monkeypatch.setenv(f"BACKSPAN_CONTENT_{name.upper()}", str(value))
        config.reload()

    yield set_to
    monkeypatch.undo()
    config.reload()


def test_cut_inside_the_json(client, patched, content, schema):
    long: Any = [{"role": "user", "content": "word " * 100_000}, {"role": "user", "content": "short"}]
    client.chat.completions.create(model="m", messages=long)
    got = patched.attributes()
    messages = json.loads(got["gen_ai.input.messages"])
    jsonschema.validate(messages, schema("gen-ai-input-messages"))
    assert messages[0]["parts"][0]["content"].endswith("…[467232 more]")
    assert messages[1]["parts"][0]["content"] == "short"
    assert got["backspan.content.truncated"] == ("gen_ai.input.messages: 0 messages, 467232 characters",)


def test_the_oldest_messages_go_first(budgets):
    budgets(list=700)
    history = [_said("system", "rules"),
               *(_said("user" if at % 2 else "assistant", f"{at:03} " * 20) for at in range(20)),
               _said("user", "the question"), _said("assistant", "calling"), _said("assistant", "called")]
    got = _put(history)
    kept = json.loads(got["gen_ai.input.messages"])
    texts = [message["parts"][0]["content"][:12].strip() for message in kept]
    assert texts[0] == "rules" and texts[-3:] == ["the question", "calling", "called"]
    assert [text[:3] for text in texts[1:-3]] == [f"{at:03}" for at in range(20)][-len(texts) + 4:]
    assert got["backspan.content.truncated"] == [
        f"gen_ai.input.messages: {len(history) - len(kept)} messages, 0 characters"]
    assert 500 < len(got["gen_ai.input.messages"]) <= 700


def test_instructions_and_question_are_shortened_only_when_nothing_else_is_left(budgets):
    budgets(list=1000)
    got = _put([_said("developer", "r" * 900), _said("assistant", "a"), _said("user", "q" * 900),
                _said("tool", "t" * 90)])
    kept = json.loads(got["gen_ai.input.messages"])
    assert [message["role"] for message in kept] == ["developer", "user"]
    assert all(message["parts"][0]["content"].endswith(" more]") for message in kept)
    assert len(got["gen_ai.input.messages"]) <= 1000
    assert got["backspan.content.truncated"][0].startswith("gen_ai.input.messages: 2 messages, ")


def test_a_quarter_of_the_span_is_kept_for_the_answer(client, patched, content, budgets):
    budgets(span=4000)
    tools: Any = [{"type": "function", "function": {"name": f"f{at}", "description": "d" * 300}} for at in range(20)]
    asked: Any = [{"role": "system", "content": "s" * 2500}, {"role": "user", "content": "word " * 300}]
    client.chat.completions.create(model="m", messages=asked, tools=tools)
    got = patched.attributes()
    sizes = {key: len(value) for key, value in got.items() if key in SCHEMAS}
    assert sum(sizes.values()) <= 4000
    assert sizes["gen_ai.output.messages"] > 800
    assert sizes["gen_ai.input.messages"] + sizes["gen_ai.tool.definitions"] <= 3000
    assert [text.partition(":")[0] for text in got["backspan.content.truncated"]] == list(sizes)[:3]
    for key in sizes:
        assert isinstance(json.loads(got[key]), list)


def test_twin_without_budgets_nothing_is_cut(client, patched, content, budgets):
    budgets(span=10_000_000, list=10_000_000, part=10_000_000)
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "word " * 40_000}])
    got = patched.attributes()
    assert len(got["gen_ai.input.messages"]) > 200_000
    assert "backspan.content.truncated" not in got


@pytest.mark.parametrize("limit", [2, 60, 300, 2000])
@pytest.mark.parametrize("key", [semconv.INPUT_MESSAGES, semconv.OUTPUT_MESSAGES])
def test_the_sdks_own_limit_never_cuts_through(monkeypatch, schema, limit, key):
    monkeypatch.setenv("OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT", str(limit))
    _content.limit.cache_clear()
    items = [{**_said("user", "ü\n" * 500), "finish_reason": "stop"} for _ in range(50)]
    got = _put(items, key)
    assert got["backspan.content.truncated"] and len(got[key]) <= limit
    jsonschema.validate(json.loads(got[key]), schema(SCHEMAS[key]))


def test_values_that_json_has_no_word_for():
    class Thing:
        pass

    value = {"bytes": b"1234", "nan": float("nan"), "thing": Thing(), "tuple": (1, "a"), 5: "\ud800"}
    text = _put([_content.clean(value)])["gen_ai.input.messages"]
    got = json.loads(text)[0]
    assert got["bytes"]["size"] == 4 and got["nan"] is None and got["thing"] == "<Thing>" and got["tuple"] == [1, "a"]
    text.encode()


# --- encoded once ---------------------------------------------------------------------------------------------------
ODD = ('quote " and \\ and \n and \u2028', "\ud83d\ude00 \x00\x1f", "bob@example.com", "", "\ud800", "plain")


@pytest.mark.parametrize("text", ODD)
def test_what_is_put_together_is_what_the_encoder_writes(text):
    """A message of texts is joined from pieces; the same message as plain data is encoded whole."""
    for more in ({}, {"finish_reason": "stop"}, {"name": text, "finish_reason": "stop"}):
        quick = {"role": "user", "parts": [_content.text_part(text), _content.text_part("x")], **more}
        slow = {"role": "user", "parts": [dict(part) for part in quick["parts"]], **more}
        assert _put([quick, quick])["gen_ai.input.messages"] == _put([slow, slow])["gen_ai.input.messages"]


def test_what_is_remembered_is_as_if_it_were_not(client, patched, content):
    for _ in range(2):
        _chat(client)
        _responses(client)
    first, second = patched.spans[:2], patched.spans[2:]
    for one, other in zip(first, second, strict=True):
        assert {key: one.attributes.get(key) for key in SCHEMAS} == {key: other.attributes.get(key) for key in SCHEMAS}


def test_a_message_changed_after_the_call_is_recorded_as_it_was(client, patched, content):
    messages: Any = [{"role": "user", "content": [{"type": "text", "text": "before"}]}]
    tool: Any = {"type": "function", "function": {"name": "f", "description": "before"}}
    stream = client.chat.completions.create(model="m", messages=messages, tools=[tool], stream=True)
    messages[0]["content"][0]["text"] = tool["function"]["description"] = "after"
    messages.append({"role": "user", "content": "after"})
    list(stream)
    assert "before" in patched.attributes()["gen_ai.input.messages"]
    assert "before" in patched.attributes()["gen_ai.tool.definitions"]
    assert "after" not in patched.everything()


def test_a_new_hook_sees_what_was_remembered(client, patched, content):
    for hook in (None, lambda text: text.replace("kind", "[adjective]")):
        backspan.redact.redactor(hook)
        client.chat.completions.create(model="m", messages=MESSAGES)
    first, second = (span.attributes["gen_ai.input.messages"] for span in patched.spans)
    assert "Be kind." in first and "Be [adjective]." in second


@pytest.mark.parametrize(
    ("said", "read"), [("100", 100), ("nonsense", 32_768), ("-5", 32_768), ("3", 16), ("", 32_768)])
def test_a_budget_that_is_no_number_is_the_default(said, read):
    assert config.read({"BACKSPAN_CONTENT_PART": said}).content_part == read
