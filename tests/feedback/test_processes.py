"""`record_feedback` in processes of their own: the application's providers, real sockets, forks, and the end."""

import os
import socket
import subprocess
import sys
import textwrap

import pytest

from tests.support.otlp_sink import OtlpSink

from .conftest import SPAN_ID, TRACE_ID
from .test_forward import Gateway


def run(code: str, tmp_path, **environ: str) -> subprocess.CompletedProcess[str]:
    keep = {name: value for name, value in os.environ.items() if not name.startswith(("OTEL_", "BACKSPAN"))}
    environ = {"BACKSPAN_DATA_DIR": str(tmp_path), "BACKSPAN_RAISE": "1", **environ}
    return subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True,
                          env={**keep, **environ}, timeout=60)


APPLICATION = """
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
    from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

    def set_provider():
        provider = TracerProvider(sampler=ALWAYS_OFF)
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=lambda s: s.name + chr(10))))
        trace.set_tracer_provider(provider)
"""


@pytest.mark.parametrize("variable", ["", "1"])
def test_feedback_reaches_the_applications_exporter_though_it_samples_nothing(tmp_path, variable):
    done = run(APPLICATION + """
    set_provider()
    import backspan
    with trace.get_tracer("app").start_as_current_span("answer") as span:
        pass
    print(backspan.record_feedback(span, thumbs=False).status)
    """, tmp_path, BACKSPAN=variable, OTEL_METRICS_EXPORTER="none")
    assert (done.stdout.split("\n"), done.stderr) == (["evaluation user_thumbs", "add", ""], "")


def test_a_provider_that_the_application_sets_later_is_used_from_then_on(tmp_path):
    done = run(APPLICATION + """
    import backspan
    backspan.record_feedback("resp_1", thumbs=False)
    set_provider()
    print(backspan.record_feedback("resp_1", thumbs=True).status)
    """, tmp_path, OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none")
    assert (done.stdout.split("\n"), done.stderr) == (["evaluation user_thumbs", "change", ""], "")


VOTE = f"""
    import backspan
    backspan.record_feedback(("{TRACE_ID}", "{SPAN_ID}"), thumbs=False, reasons=["old"])
"""


def test_a_vote_travels_over_a_real_socket(tmp_path):
    with OtlpSink() as sink:
        done = run(VOTE, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint)
        (span,) = sink.wait_spans(1)
    assert (done.stdout, done.stderr, done.returncode) == ("", "", 0)
    assert (span.name, span.kind, span.parent_id, span.scope) == ("evaluation user_thumbs", "INTERNAL", "", "backspan")
    assert span.links == ((TRACE_ID, SPAN_ID),)
    ((event, attributes),) = span.events
    assert (event, attributes["gen_ai.evaluation.score.value"]) == ("gen_ai.evaluation.result", 0.0)
    counted = [point for point in sink.points if point.metric == "backspan.feedback"]
    assert [(point.value, point.attributes["op"]) for point in counted[-1:]] == [(1, "add")]
    assert {point.exemplars for point in counted} == {((TRACE_ID, SPAN_ID, 1.0),)}


def test_a_vote_that_is_refused_does_not_arrive(tmp_path):
    with OtlpSink() as sink:
        sink.refuse(400)
        run(VOTE, tmp_path, OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint)
        assert (sink.spans, sink.points) == ([], [])
        assert sink.requests


def test_a_forked_child_knows_the_votes_and_is_not_held_up_by_its_parents_lock(tmp_path):
    done = run("""
    import os
    from backspan.context import Target
    from backspan.feedback.memory import MemorySink
    from backspan.feedback.model import parse

    sink = MemorySink(emitter=lambda feedback: None)
    put = lambda thumbs: sink.put(parse({"thumbs": thumbs})[0], Target(response_id="r"), None, 0.0).status
    put(True)
    with sink._lock:  # as another thread may hold it at the moment of the fork
        child = os.fork()
        if child == 0:
            print(put(True), put(False), flush=True)
            os._exit(0)
        os.waitpid(child, 0)
    print(put(True))
    """, tmp_path)
    assert (done.stdout, done.stderr) == ("unchanged change\nunchanged\n", "")


def test_a_forked_child_sends_its_own_votes_and_no_others(tmp_path):
    gateway = Gateway()
    gateway.open.clear()
    done = run("""
    import os, urllib.request, warnings
    import backspan
    from backspan.feedback import forward
    from backspan.feedback.forward import forwarder
    forward.TIMEOUT_S = 60.0  # the gateway holds the first vote until the child has been made
    backspan.record_feedback("resp_parent", thumbs=True)
    warnings.simplefilter("ignore")  # Python 3.12 warns of forks in processes with threads
    child = os.fork()
    backspan.record_feedback("resp_child" if child == 0 else "resp_again", thumbs=True)
    if child == 0:
        print("ready", len(forwarder._queue), flush=True)
        urllib.request.urlopen(os.environ["BACKSPAN_GATEWAY_URL"] + "/open").close()
        sent = backspan.flush(30)
        os._exit(0 if sent else 1)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
    backspan.flush(30)
    """, tmp_path, BACKSPAN_GATEWAY_URL=gateway.url, OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none")
    gateway.shutdown()
    gateway.server_close()
    assert (done.stdout, done.stderr) == ("ready 1\n0\n", "")
    assert sorted(body["response_id"] for body in gateway.bodies) == ["resp_again", "resp_child", "resp_parent"]


def test_with_no_gateway_there_the_process_ends_soon_and_says_why(tmp_path):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        done = run("""
        import backspan, time
        backspan.record_feedback("resp_1", thumbs=True)
        from backspan.feedback.forward import forwarder
        forwarder.flush(0.2)
        import atexit
        start = time.monotonic()
        atexit._run_exitfuncs()
        print(time.monotonic() - start < 10)
        """, tmp_path, BACKSPAN_GATEWAY_URL=url, OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none")
    assert done.stdout == "True\n"
    assert done.stderr.splitlines() == [
        "backspan: the gateway 127.0.0.1 does not answer; votes wait and are sent again",
        "backspan: the process ends and the gateway did not answer; votes lost: 1",
    ]
