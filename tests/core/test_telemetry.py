"""Whose provider is used, when, and what is left when the process ends."""

import os
import subprocess
import sys
import textwrap
import time

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF

from backspan import semconv, telemetry
from tests.support.processes import free_port


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "BACKSPAN"))}
    return subprocess.run([sys.executable, "-W", "error", "-c", textwrap.dedent(code)], capture_output=True, text=True,
                          env={**keep, **environ}, timeout=60)


def test_our_provider_is_private(spans):
    telemetry.get_tracer().start_span("ours").end()
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)
    assert [span.name for span in spans.get_finished_spans()] == ["ours"]


def test_the_applications_provider_is_used_from_the_moment_it_is_set():
    done = run("""
        import os
        os.environ.update(OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none")
        from backspan import telemetry
        telemetry.get_tracer().start_span("before").end()
        from opentelemetry import trace
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import ConsoleSpanExporter, SimpleSpanProcessor
        provider = TracerProvider()
        provider.add_span_processor(SimpleSpanProcessor(ConsoleSpanExporter(formatter=lambda s: s.name + " ")))
        trace.set_tracer_provider(provider)
        telemetry.get_tracer().start_span("after").end()
    """)
    assert (done.stdout.strip(), done.stderr, done.returncode) == ("after", "", 0)


def test_feedback_is_sampled_whatever_the_sampler_says_and_reaches_processors_added_later(spans):
    provider = TracerProvider(sampler=ALWAYS_OFF, shutdown_on_exit=False)
    telemetry._state.tracer_provider = provider
    tracer = telemetry.feedback_tracer()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    telemetry.get_tracer().start_span("dropped").end()
    tracer.start_span("kept").end()
    assert [span.name for span in spans.get_finished_spans()] == ["kept"]
    assert isinstance(spans, InMemorySpanExporter)


ONE_SPAN = """
    import time
    from backspan import telemetry
    telemetry.get_tracer().start_span("s").end()
    telemetry.instruments().answers.add(1)
    print(time.monotonic(), flush=True)
"""


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_with_nothing_listening_one_line_is_said_and_the_exit_is_bounded(protocol):
    done = run(ONE_SPAN, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}",
               OTEL_EXPORTER_OTLP_PROTOCOL=protocol)
    took = time.monotonic() - float(done.stdout)  # of the whole machine, and never set
    assert done.returncode == 0
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert done.stderr.startswith("backspan: cannot deliver")
    # Not a timing: the bound that the documentation states, with room for a slow machine.
    assert took < 2 * telemetry.EXIT_SECONDS + 10


def test_exporters_can_be_switched_off():
    done = run(ONE_SPAN, OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none")
    assert (done.stderr, done.returncode) == ("", 0)


def test_an_unknown_protocol_is_said_and_does_not_stop_the_application():
    done = run(ONE_SPAN, OTEL_EXPORTER_OTLP_PROTOCOL="carrier-pigeon",
               OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}")
    assert "carrier-pigeon" in done.stderr
    assert done.returncode == 0


def test_a_forked_child_starts_with_providers_of_its_own():
    done = run("""
        import os, sys
        os.environ.update(OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none")
        from backspan import telemetry
        before = telemetry.tracer_provider(), telemetry.meter_provider(), telemetry.instruments()
        instance = telemetry.resource_attributes()["service.instance.id"]
        pid = os.fork()
        if pid == 0:
            after = telemetry.tracer_provider(), telemetry.meter_provider(), telemetry.instruments()
            same = any(a is b for a, b in zip(before, after))
            os._exit(same or telemetry.resource_attributes()["service.instance.id"] == instance)
        sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
    """)
    assert (done.stderr, done.returncode) == ("", 0)


def test_a_call_made_late_in_the_exit_harms_nothing():
    done = run("""
        import atexit
        from backspan import telemetry
        telemetry.get_tracer().start_span("s").end()
        atexit._run_exitfuncs()
        telemetry.get_tracer().start_span("late").end()
        telemetry.instruments().answers.add(1)
    """, OTEL_TRACES_EXPORTER="none", OTEL_METRICS_EXPORTER="none")
    assert (done.stderr, done.returncode) == ("", 0)


def test_someone_elses_instrumentation_follows_the_provider_in_force(spans):
    tracer = telemetry.CurrentTracerProvider().get_tracer("other", "1")
    with tracer.start_as_current_span("http"):
        pass
    assert [span.name for span in spans.get_finished_spans()] == ["http"]


def test_every_instrument_is_made_once(spans):
    assert telemetry.instruments() is telemetry.instruments()


def test_a_provider_that_cannot_be_hashed_is_remembered_all_the_same(spans):
    class Odd(TracerProvider):
        __hash__ = None

    odd = Odd(shutdown_on_exit=False)
    odd.add_span_processor(SimpleSpanProcessor(spans))
    telemetry._state.tracer_provider = odd
    first = telemetry.get_tracer()
    telemetry._state.last = None
    assert telemetry.get_tracer() is first and telemetry.feedback_tracer() is telemetry.feedback_tracer()


def test_what_is_remembered_per_provider_goes_with_it():
    made = telemetry.PerProvider()
    one, other = object.__new__(TracerProvider), object.__new__(TracerProvider)
    made[one], made[other] = 1, 2
    assert (made.get(one), made.get(other), made.get(object())) == (1, 2, None)
    del one
    assert list(made.items()) == [(other, 2)]


def test_what_sends_is_not_loaded_before_something_is_to_be_sent():
    done = run("""
        import sys
        from backspan import telemetry
        heavy = ("google.protobuf", "requests", "grpc", "backspan._export.processor")
        print([name for name in heavy if name in sys.modules])
        telemetry.tracer_provider()
        loaded = set(sys.modules)
        telemetry.get_tracer().start_span("s").end()
        telemetry.flush(5)
        print("requests" in loaded, {name for name in set(sys.modules) - loaded if name.startswith(heavy)})
    """, OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{free_port()}", OTEL_METRICS_EXPORTER="none")
    assert done.stdout == "[]\nTrue set()\n"  # nor in the thread: a fork may come in the middle of an import there


def test_prometheus_names():
    assert semconv.PROM_FEEDBACK == "backspan_feedback_total"
    assert semconv.PROM_FEEDBACK_DELAY == "backspan_feedback_delay_seconds"
    assert semconv.PROM_DIMENSIONS[0] == "gen_ai_request_model"
