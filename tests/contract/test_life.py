"""The life of the process: its end, its children, its loops and threads, and whom it talks to."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import textwrap
import threading
import types

import openai
import pytest

import backspan.instrument
from tests.contract.conftest import MESSAGES, make_client, stream_of
from tests.contract.scenarios import shows
from tests.support.otlp_sink import OtlpSink
from tests.support.processes import environment

CONSOLE = """
    import os, sys
    os.environ.update(BACKSPAN="1", BACKSPAN_RAISE="1", OTEL_METRICS_EXPORTER="none")
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, BatchSpanProcessor
    import openai
    import backspan.instrument
    backspan.instrument.imported(openai)
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(ConsoleSpanExporter(
        formatter=lambda span: f"{os.getpid() == MAIN} {span.attributes.get('backspan.stream.outcome')}\\n")))
    MAIN = os.getpid()
    trace.set_tracer_provider(provider)
    client = openai.OpenAI(base_url=sys.argv[1], api_key="k")
    stream = client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}], stream=True)
    next(stream)
"""
OURS = """
    import os, sys
    import backspan.instrument, openai
    backspan.instrument.imported(openai)
    client = openai.OpenAI(base_url=sys.argv[1], api_key="k")
    client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
"""


def _process(server, script, more="", **settings):
    code = textwrap.dedent(script) + textwrap.dedent(more)
    done = subprocess.run([sys.executable, "-c", code, server.base_url], capture_output=True, text=True, timeout=180,
                          env=environment(**settings))
    return done.stdout.split("\n")[:-1], done.stderr, done.returncode


# --- the end of the process -----------------------------------------------------------------------------------------
@shows("open-at-exit")
def test_open_stream_at_exit(server):
    assert _process(server, CONSOLE) == (["True abandoned"], "", 0)


@shows("open-at-exit")
def test_open_streams_of_a_loop_and_a_thread_at_exit(server):
    said, errors, code = _process(server, CONSOLE, """
        import asyncio, threading
        kept = []
        thread = threading.Thread(target=lambda: kept.append(client.chat.completions.create(
            model="m", messages=[{"role": "user", "content": "hi"}], stream=True)))
        thread.start(); thread.join()
        sys.exit(3)
    """)
    assert (sorted(said), errors, code) == (["True abandoned"] * 2, "", 3)


@shows("fork")
def test_a_forked_child_leaves_the_parents_stream_alone(server):
    said, errors, code = _process(server, CONSOLE, """
        pid = os.fork()
        if pid == 0:
            del stream
            import gc; gc.collect()
            sys.exit(0)
        os.waitpid(pid, 0)
        list(stream)
    """)
    assert (said, errors, code) == (["True complete"], "", 0)


@pytest.fixture
def collector():
    with OtlpSink() as running:
        yield running


@shows("short-life")
def test_one_call_and_the_end(server, collector, tmp_path):
    settings = {"BACKSPAN": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "BACKSPAN_DATA_DIR": str(tmp_path)}
    assert _process(server, OURS, **settings) == ([], "", 0)
    assert [span.name for span in collector.wait_spans(1)] == ["chat m"]


@shows("fork")
def test_parent_and_child_both_export(server, collector, tmp_path):
    settings = {"BACKSPAN": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "BACKSPAN_DATA_DIR": str(tmp_path)}
    said, errors, code = _process(server, OURS, """
        pid = os.fork()
        if pid == 0:  # two processes must not write into one connection
            client = openai.OpenAI(base_url=sys.argv[1], api_key="k")
        client.embeddings.create(model="child" if pid == 0 else "parent", input="x")
        if pid:
            os.waitpid(pid, 0)
    """, **settings)
    assert (said, errors, code) == ([], "", 0)
    assert sorted(span.name for span in collector.wait_spans(3)) == ["chat m", "embeddings child", "embeddings parent"]


@shows("short-life")
def test_the_end_is_in_time_while_nobody_listens(server, tmp_path):
    """Within the time that `_process` gives it, with one line of ours; the application's own code runs to its end."""
    said, errors, code = _process(server, OURS, "print('done')", BACKSPAN="1", BACKSPAN_DATA_DIR=str(tmp_path),
                                  OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert (said, code) == (["done"], 0)
    assert len(errors.splitlines()) == 1 and errors.startswith("backspan: ")


# --- loops, threads, the network ------------------------------------------------------------------------------------
@shows("sync-in-loop")
def test_a_synchronous_call_inside_a_running_loop(server, patched, content):
    async def main():
        with make_client(server) as client:
            client.chat.completions.create(model="m", messages=MESSAGES)
            before = threading.active_count()
            client.chat.completions.create(model="m", messages=MESSAGES)
            list(stream_of(client))
            return threading.active_count() - before, asyncio.all_tasks() == {asyncio.current_task()}

    made: list[str] = []
    threads = threading.Thread.start
    try:
        threading.Thread.start = lambda self: (made.append(self.name), threads(self))
        assert asyncio.run(main())[1]
    finally:
        threading.Thread.start = threads
    assert not [name for name in made if "process_request_thread" not in name]  # the server's own
    assert len(patched.spans) == 3


@shows("no-network")
def test_nobody_else_is_connected_to(server, patched, content, monkeypatch):
    """Not by importing us, by installing, by a call of a model whose name and prices nobody knows, or at the end."""
    called: list[object] = []
    connect = socket.socket.connect
    monkeypatch.setattr(socket.socket, "connect", lambda self, to: (called.append(to[:2]), connect(self, to))[1])
    with make_client(server) as client:
        list(stream_of(client, "gpt-nobody-knows"))
    port = int(server.base_url.rpartition(":")[2].partition("/")[0])
    assert set(called) == {("127.0.0.1", port)}


# --- clients that we do not know ------------------------------------------------------------------------------------
@shows("unknown-client")
@pytest.mark.parametrize("lacks", ["_base_client", "SyncAPIClient", "request", "AsyncAPIClient"])
def test_a_client_of_another_make_is_left_alone(seen, monkeypatch, caplog, lacks):
    monkeypatch.delenv("BACKSPAN_RAISE")
    package = types.ModuleType("openai")
    package.__path__ = []
    package.BaseModel = object
    inner = types.ModuleType("openai._base_client")
    kinds = {name: type(name, (), {"request": lambda self: self}) for name in ("SyncAPIClient", "AsyncAPIClient")}
    if lacks == "request":
        del kinds["SyncAPIClient"].request
    vars(inner).update({name: kind for name, kind in kinds.items() if name != lacks})
    monkeypatch.setitem(sys.modules, "openai", package)
    monkeypatch.delitem(sys.modules, "openai._base_client", raising=False)
    if lacks != "_base_client":
        monkeypatch.setitem(sys.modules, "openai._base_client", inner)
    for _ in range(2):
        backspan.instrument.imported(package)
    backspan.instrument.uninstrument()
    assert all(not hasattr(kind.__dict__.get("request"), "__wrapped__") for kind in kinds.values())
    assert len([record for record in caplog.records if record.name == "backspan"]) == 1


def test_twin_this_client_is_known(seen, caplog):
    backspan.instrument.imported(openai)
    assert hasattr(openai._base_client.SyncAPIClient.request, "__wrapped__")
    backspan.instrument.uninstrument()
    assert caplog.records == []
