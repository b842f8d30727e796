"""The application sees with us what it sees without us: the same call in one process, unpatched and patched."""

from __future__ import annotations

from functools import cache
from typing import Any

import openai
import pytest

import backspan.instrument
from backspan import config
from backspan.instrument import openai as integration
from tests.contract.calls import CASES, observe
from tests.contract.conftest import MESSAGES, make_client
from tests.contract.scenarios import shows
from tests.contract.versions import has

KNOWN = [name for name, case in CASES.items() if has(case.needs)]


@cache
def _without(server: Any, name: str, asynchronous: bool) -> Any:
    """What is seen without us; the same for all settings. Called while nothing is patched."""
    return observe(server, CASES[name], asynchronous)


def _patched(server: Any, name: str, asynchronous: bool) -> Any:
    backspan.instrument.imported(openai)
    try:
        return observe(server, CASES[name], asynchronous)
    finally:
        backspan.instrument.uninstrument()


@shows("same-bytes", "same-lines", "cut", "no-usage-forced", "bad-arguments", "null-delta", "all-null", "pages")
@pytest.mark.parametrize("setting", ["1", "content"])
@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("name", KNOWN)
def test_same_with_and_without_us(server, seen, monkeypatch, name, asynchronous, setting):
    without = _without(server, name, asynchronous)
    monkeypatch.setenv("BACKSPAN", setting)
    config.reload()
    assert _patched(server, name, asynchronous) == without
    assert CASES[name].spans in (-1, len(seen.spans))


@pytest.mark.parametrize("harm", ["result", "request", "warning", "exception"])
def test_twin_a_difference_is_noticed(server, seen, monkeypatch, harm):
    """Each thing that is compared, changed by a patch, is seen."""
    import warnings

    original = integration._received

    def received(call, api, result, asynchronous):
        if harm == "result":
            result.id = "other"
        if harm == "warning":
            warnings.warn("of ours", stacklevel=1)
        original(call, api, result, asynchronous)

    def begin(client, args, kwargs):
        options = args[1] if len(args) > 1 else kwargs["options"]
        if harm == "request":
            options.json_data["seed"] = 3
        if harm == "exception":
            raise ValueError

    monkeypatch.setattr(integration, *(
        ("_received", received) if harm in ("result", "warning") else ("_begin", begin)))
    assert _patched(server, "chat", False) != _without(server, "chat", False)


def test_a_stream_class_of_the_applications_own(server, patched):
    class Mine(openai.Stream[openai.types.chat.ChatCompletionChunk]):
        def shout(self):
            return [chunk.choices[0].delta.content for chunk in self]

    with make_client(server) as client:
        stream = client.post("/chat/completions", cast_to=openai.types.chat.ChatCompletionChunk, stream=True,
                             stream_cls=Mine, body={"model": "m", "messages": MESSAGES, "stream": True})
        assert isinstance(stream, Mine) and len(stream.shout()) == 7
    assert patched.attributes()["backspan.stream.outcome"] == "complete"
