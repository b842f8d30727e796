"""Beside other instrumentations there is one set of spans; and a framework on top of the client makes no second one."""

from __future__ import annotations

import json
import subprocess
import sys
import types
from importlib.util import find_spec
from pathlib import Path

import openai
import pytest
import wrapt
from opentelemetry.instrumentation.instrumentor import BaseInstrumentor
from opentelemetry.instrumentation.utils import suppress_instrumentation

import backspan.instrument
from backspan.instrument import _vendors
from tests.contract.conftest import MESSAGES, make_client, stream_of
from tests.contract.scenarios import shows
from tests.support.processes import environment

PACKAGES = {
    "official": "opentelemetry.instrumentation.genai", "openllmetry": "opentelemetry.instrumentation.openai",
    "openinference": "openinference", "logfire": "logfire", "langfuse": "langfuse", "sentry": "sentry_sdk",
}
ORDERS = ("ours-first", "theirs-first")


def _beside(server, vendor, order):
    if find_spec(PACKAGES[vendor]) is None:
        pytest.skip(f"{vendor} is not installed")
    command = [sys.executable, str(Path(__file__).with_name("beside.py")), vendor, order, server.base_url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, env=environment())
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@shows("other-vendors")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("vendor", ["official", "openinference", "logfire"])
def test_one_that_can_be_switched_off(server, vendor, order):
    """While it is on, its spans are the only ones; then ours are."""
    got = _beside(server, vendor, order)
    assert got["spans"]["both"].keys() == {"theirs"}
    assert got["spans"]["theirs off"] == {"ours": 2}
    assert got["spans"]["both off"] == {}
    # Logfire suppresses what is inside its own spans: where that is us, there is nothing to say.
    assert len(got["said"]) == (0 if (vendor, order) == ("logfire", "ours-first") else 1)
    assert all("leaves it alone" in said for said in got["said"])


@shows("other-vendors")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("vendor", ["openllmetry", "langfuse"])
def test_one_that_stays_for_good(server, vendor, order):
    """Langfuse has no switch, and OpenLLMetry's leaves its wrappers at work."""
    got = _beside(server, vendor, order)
    assert all(spans == {"theirs": 2} for spans in got["spans"].values())
    assert len(got["said"]) == 1 and "leaves it alone" in got["said"][0]


@shows("other-vendors")
@pytest.mark.parametrize("order", ORDERS)
def test_one_that_keeps_its_traces_to_itself(server, order):
    got = _beside(server, "sentry", order)
    assert got == {"spans": {"both": {"ours": 2}, "ours off": {}}, "said": []}


@shows("other-vendors")
def test_an_unknown_wrapper_is_there_first(server, seen, caplog):
    base = openai._base_client
    original = base.SyncAPIClient.__dict__["request"]
    wrapt.wrap_function_wrapper(
        base.SyncAPIClient, "request", lambda wrapped, _, args, kwargs: wrapped(*args, **kwargs))
    try:
        for _ in range(2):
            backspan.instrument.imported(openai)
        with make_client(server) as client:
            client.chat.completions.create(model="m", messages=MESSAGES)
    finally:
        base.SyncAPIClient.request = original
        backspan.instrument.uninstrument()
    assert seen.spans == ()
    assert [record.getMessage() for record in caplog.records if record.name == "backspan"] == [
        "backspan: openai is instrumented by somebody else's wrapper already, so backspan leaves it alone"]


@shows("other-vendors")
def test_an_unknown_wrapper_that_comes_later_is_not_undone(server, seen):
    base, called = openai._base_client, []
    before = base.SyncAPIClient.__dict__["request"]
    backspan.instrument.imported(openai)
    wrapt.wrap_function_wrapper(
        base.SyncAPIClient, "request", lambda wrapped, _, args, kwargs: (called.append(1), wrapped(*args, **kwargs))[1])
    try:
        backspan.instrument.uninstrument()
        with make_client(server) as client:
            client.chat.completions.create(model="m", messages=MESSAGES)
    finally:
        base.SyncAPIClient.request = before
    assert called == [1]


class OpenAIInstrumentor(BaseInstrumentor):
    """As those of OpenTelemetry, OpenLLMetry and OpenInference are."""

    def instrumentation_dependencies(self):
        return ()

    def _instrument(self, **kwargs):
        pass

    def _uninstrument(self, **kwargs):
        pass


@shows("other-vendors")
@pytest.mark.parametrize("module", [name for name, kind in _vendors.OPENAI.items() if kind == "OpenAIInstrumentor"])
def test_a_known_instrumentor_comes_and_goes(client, patched, monkeypatch, caplog, module):
    fake = types.ModuleType(module)
    fake.OpenAIInstrumentor = OpenAIInstrumentor
    monkeypatch.setitem(sys.modules, module, fake)
    other = OpenAIInstrumentor()
    other.instrument()
    for _ in range(2):
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert patched.spans == ()
    assert len([record for record in caplog.records if module in record.getMessage()]) == 1
    other.uninstrument()
    client.chat.completions.create(model="m", messages=MESSAGES)
    patched.one()


@shows("suppressed")
@pytest.mark.parametrize("stream", [False, True])
def test_suppressed(client, patched, stream):
    with suppress_instrumentation():
        answer = client.chat.completions.create(model="m", messages=MESSAGES, stream=stream)
    assert (len(list(answer)) == 7) if stream else answer.choices
    assert patched.spans == () and patched.metrics() == {}


@shows("twice")
def test_patching_twice_is_patching_once(client, patched):
    backspan.instrument.imported(openai)
    list(stream_of(client))
    patched.one()


@shows("twice")
def test_unpatching_leaves_the_client_as_it_was(seen):
    base = openai._base_client
    owners = base.SyncAPIClient, base.AsyncAPIClient, base.BaseClient, openai.OpenAI, openai.AsyncOpenAI
    before = [dict(vars(owner)) for owner in owners]
    for _ in range(2):
        backspan.instrument.imported(openai)
        assert vars(base.SyncAPIClient)["request"] is not before[0]["request"]
        backspan.instrument.uninstrument()
        assert [dict(vars(owner)) for owner in owners] == before


@shows("one-model-span")
def test_a_framework_that_retries_and_parses_on_top(client, patched):
    """As frameworks do: raw responses of clones, parsed later, streams within generators, in a span of their own."""

    def answers():
        with patched.provider.get_tracer("framework").start_as_current_span("agent"):
            clone = client.with_options(timeout=30).copy(max_retries=2)
            yield clone.chat.completions.with_raw_response.create(model="flaky-500-1", messages=MESSAGES).parse()
            yield from stream_of(clone, stream_options={"include_usage": True})

    assert len(list(answers())) == 9
    calls = [span for span in patched.spans if span.name.startswith("chat")]
    assert [span.attributes["gen_ai.usage.input_tokens"] for span in calls] == [5, 5]
    tokens = patched.metrics()["gen_ai.client.inference.usage.input_tokens"]
    assert sum(point.value for point in tokens) == 10
