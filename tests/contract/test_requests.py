"""The request is the application's: nothing of it is consumed, changed, added or judged."""

from __future__ import annotations

import asyncio
import json

import openai
import pytest

from tests.contract.calls import TOOLS
from tests.contract.conftest import MESSAGES, async_client, make_client, stream_of
from tests.contract.scenarios import shows
from tests.contract.versions import OMIT

PROPAGATED = {"traceparent", "tracestate", "baggage", "sentry-trace"}


@shows("messages-iterator", "tools-iterator")
@pytest.mark.parametrize("kind", [iter, list, tuple, lambda items: (item for item in items)])
@pytest.mark.parametrize("stream", [False, True])
def test_iterators_reach_the_provider_whole(server, client, patched, content, kind, stream):
    answer = client.chat.completions.create(model="m", messages=kind(MESSAGES), tools=kind(TOOLS), stream=stream)
    if stream:
        list(answer)
    sent = server.requests[-1].json
    assert (sent["messages"], sent["tools"]) == (MESSAGES, TOOLS)
    got = patched.attributes()
    assert got["backspan.input.message.count"] == 2
    assert "one two three" in got["gen_ai.input.messages"] and "weather" in got["gen_ai.tool.definitions"]


@shows("messages-iterator")
def test_iterators_reach_the_provider_whole_asynchronously(server, patched, content):
    async def main():
        async with async_client(server) as client:
            await client.chat.completions.create(model="m", messages=(m for m in MESSAGES), tools=(t for t in TOOLS))

    asyncio.run(main())
    sent = server.requests[-1].json
    assert (sent["messages"], sent["tools"]) == (MESSAGES, TOOLS)


@shows("headers")
def test_the_applications_options_are_not_changed(server, client, patched):
    headers, query, body = {"x-a": "b"}, {"q": "1"}, {"k": "v"}
    messages, options = json.loads(json.dumps(MESSAGES)), {"include_usage": False}
    list(stream_of(client, messages=messages, stream_options=options, extra_headers=headers, extra_query=query,
                   extra_body=body))
    assert (headers, query, body) == ({"x-a": "b"}, {"q": "1"}, {"k": "v"})
    assert (messages, options) == (MESSAGES, {"include_usage": False})
    assert not PROPAGATED & {name for name, _ in server.requests[-1].headers}


@shows("headers")
def test_no_trace_header_goes_to_the_provider(server, client, patched):
    import backspan.instrument

    transport = __import__(openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0])
    backspan.instrument.imported(transport)
    with patched.provider.get_tracer("app").start_as_current_span("request"):
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert not PROPAGATED & {name for name, _ in server.requests[-1].headers}
    assert len(patched.spans) == 3


@shows("no-usage-forced")
@pytest.mark.parametrize("options", [{}, {"stream_options": {"include_usage": False}}, {"stream_options": None},
                                     {"stream_options": {"include_usage": True}}])
def test_usage_is_asked_for_by_the_application_alone(server, client, patched, options):
    chunks = list(stream_of(client, **options))
    wanted = bool((options.get("stream_options") or {}).get("include_usage"))
    assert server.requests[-1].json.get("stream_options") == options.get("stream_options")
    assert any(not chunk.choices for chunk in chunks) is wanted
    assert ("gen_ai.usage.input_tokens" in patched.attributes()) is wanted


@shows("bad-arguments")
def test_wrong_arguments_raise_what_the_client_raises(server, client, patched, content):
    with pytest.raises(TypeError, match="[Mm]issing"):
        client.chat.completions.create(model="m")
    with pytest.raises(TypeError):
        client.chat.completions.create(model="m", messages=[{"role": "user", "content": object()}])
    assert patched.one().attributes["error.type"] == "TypeError"
    odd = [{"name": 7, "role": None, "content": "sent as it is"}]
    client.chat.completions.create(model="m", messages=odd, temperature="warm", user=["u"])
    assert (server.requests[-1].json["messages"], server.requests[-1].json["user"]) == (odd, ["u"])


@shows("omitted")
def test_what_is_not_given_is_not_recorded(client, patched, content, quiet):
    client.chat.completions.create(
        model="gpt-x", messages=MESSAGES, temperature=OMIT, tools=OMIT, stop=OMIT, seed=openai.NOT_GIVEN,
        response_format=OMIT, stream=OMIT, max_tokens=openai.NOT_GIVEN)
    got = patched.attributes()
    assert {key for key in got if key.startswith("gen_ai.request.")} == {"gen_ai.request.model"}
    assert "Omit" not in patched.everything() and "NOT_GIVEN" not in patched.everything()


def test_twin_a_client_that_adds_something_is_noticed(server, patched):
    with make_client(server, default_headers={"traceparent": "x"}) as client:
        client.chat.completions.create(model="m", messages=MESSAGES)
    assert PROPAGATED & {name for name, _ in server.requests[-1].headers}
