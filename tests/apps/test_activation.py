"""An unchanged application and the variable alone: its spans arrive, whichever way it is run."""

from __future__ import annotations

import json
import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.request import urlopen

import pytest
from tests.support.openai_server import OpenAIServer
from tests.support.processes import APPS, Server, environment, free_port, python, run, serve

PROGRAMS = sorted(path for path in APPS.glob("*.py") if not path.name.startswith(("test_", "conftest")))
CALLS = {"chat gpt-test": 4, "embeddings embed-test": 1}
"""What `chat.py` does: chat plain, streamed and async, a response, embeddings."""


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda path: path.stem)
def test_the_applications_know_nothing_of_us(program):
    assert not re.search(r"backspan|opentelemetry", program.read_text(encoding="utf-8"), re.IGNORECASE)


@pytest.mark.parametrize(
    "command",
    [("chat.py",), ("-m", "chat"), ("-I", "chat.py"), ("-E", "chat.py")],
    ids=["file", "module", "isolated", "no-variables"],
)
def test_plain_python(command, env, sink):
    # -E hides PYTHON* variables only; ours is read from the environment by our own code
    done = run(python(*command), env())
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    assert Counter(span.name for span in sink.wait_spans(5)) == CALLS
    assert {span.resource["service.name"] for span in sink.spans} == {"shop"}


def test_a_program_that_ran_for_a_while_leaves_no_warning(env, sink):
    """Its first spans left long ago, the last ones leave at exit, through sockets that are closed."""
    code = (
        "import openai, time\n"
        "with openai.OpenAI() as client:\n"
        "    client.embeddings.create(model='embed-test', input='first')\n"
        "    time.sleep(1.5)\n"
        "    client.embeddings.create(model='embed-test', input='last')\n"
    )
    done = run(python("-W", "always", "-c", code), env())
    assert (done.returncode, done.stderr) == (0, "")
    assert len(sink.wait_spans(2)) == 2


def test_without_the_variable_nothing_is_sent(env, sink):
    done = run(python("chat.py"), env(BACKSPAN=None))
    assert (done.returncode, done.stderr, sink.requests) == (0, "", [])


@pytest.mark.parametrize(
    "off", [{"BACKSPAN": "0"}, {"BACKSPAN": "no"}, {"OTEL_SDK_DISABLED": "true"}], ids=["0", "no", "sdk-disabled"]
)
def test_what_means_off(off, env, sink):
    done = run(python("chat.py"), env(**off))
    assert (done.returncode, done.stderr, sink.requests) == (0, "", [])


def test_the_application_sees_the_same(env, model):
    with_us = run(python("chat.py"), env())
    asked = [request.json for request in model.requests]
    model.requests.clear()
    without_us = run(python("chat.py"), env(BACKSPAN=None))
    assert with_us.stdout == without_us.stdout != ""
    assert asked == [request.json for request in model.requests]


def test_no_header_of_ours_reaches_the_model(env, model):
    run(python("chat.py"), env())
    names = {name for request in model.requests for name, _ in request.headers}
    assert model.requests and not names & {"traceparent", "tracestate", "baggage"}


def test_metrics_arrive_too(env, sink):
    run(python("chat.py"), env())
    answers = [point for point in sink.points if point.metric == "backspan.answers"]
    assert answers and max(point.value for point in answers) >= 1


def test_grpc(env, sink):
    endpoint = sink.serve_grpc()
    done = run(python("chat.py"), env(OTEL_EXPORTER_OTLP_PROTOCOL="grpc", OTEL_EXPORTER_OTLP_ENDPOINT=endpoint))
    assert (done.returncode, done.stderr) == (0, "")
    assert Counter(span.name for span in sink.wait_spans(5)) == CALLS
    assert all(path.startswith("grpc:") for path, _ in sink.requests)


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_multiprocessing(method, env, sink):
    done = run(python("pool.py", method), env())
    assert (done.returncode, done.stderr, done.stdout) == (0, "", "processes: True exit: 0\n")
    spans = sink.wait_spans(6)
    assert Counter(span.name for span in spans) == {"chat gpt-test": 6}
    assert len({span.span_id for span in spans}) == 6


TWO_WORKERS = ("--workers", "2", "--timeout-worker-healthcheck", "60")
"""Uvicorn kills a worker that says nothing for five seconds, be it only that the machine has no time for it."""


def _ask_until_two_workers(server: Server) -> int:
    """Ask, many at a time, until two processes have answered; return the number of questions."""

    def ask(number: int) -> int:
        with urlopen(f"{server.url}/ask?question=number+{number}", timeout=120) as reply:
            return json.load(reply)["pid"]

    pids: set[int] = set()
    with ThreadPoolExecutor(8) as pool:
        for asked in range(8, 401, 8):
            pids |= set(pool.map(ask, range(asked - 8, asked)))
            if len(pids) > 1:
                return asked
    raise AssertionError(f"one worker answered all: {pids}")


def test_uvicorn_with_two_workers(env, sink):
    port = free_port()
    command = python("-m", "uvicorn", "web:app", *TWO_WORKERS, "--port", str(port))
    with serve(command, env(), port, "Application startup complete", times=2) as server:
        asked = _ask_until_two_workers(server)
        spans = sink.wait_spans(asked)  # here, as uvicorn ends its workers by a signal that runs no exit handler
    assert {span.name for span in spans} == {"chat gpt-test"}
    assert len({span.span_id for span in spans}) == len(spans) == asked


def test_gunicorn_preloaded(env, sink):
    port = free_port()
    command = python("-m", "gunicorn", "wsgi:app", "--preload", "--workers", "2", "--timeout", "300",
                     "--bind", f"127.0.0.1:{port}")
    with serve(command, env(), port, "Booting worker", times=2) as server:
        asked = _ask_until_two_workers(server)
    spans = sink.wait_spans(asked + 1)
    assert Counter(span.name for span in spans) == {"chat gpt-test": asked, "embeddings embed-test": 1}


def test_jupyter_kernel(env, sink, tmp_path):
    notebook = APPS.parent / "support" / "run_notebook.py"
    done = run(python(notebook, APPS / "chat.py"), env(JUPYTER_RUNTIME_DIR=str(tmp_path), IPYTHONDIR=str(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert "chat: You said: Where is my parcel?" in done.stdout
    assert Counter(span.name for span in sink.wait_spans(4)) == {"chat gpt-test": 3, "embeddings embed-test": 1}


# --- the other doors -------------------------------------------------------------------------------------------------
def test_backspan_run(env, sink):
    done = run(python("-m", "backspan", "run", "--", *python("chat.py")), env(BACKSPAN=None))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(sink.wait_spans(5)) == 5


def test_backspan_run_where_pth_files_are_not_read(env, sink):
    """`python -S` reads none, as with `pip install --target`; `site` is then imported for sitecustomize only."""
    import sys

    program = (
        "import sys; sys.path += sys.argv[1].split(':'); import sitecustomize, runpy; "
        "runpy.run_path('chat.py', {}, '__main__')"
    )
    paths = ":".join(path for path in sys.path if path)
    bare = run(python("-S", "-c", program, paths), env())
    assert bare.returncode != 0 and "sitecustomize" in bare.stderr
    done = run(python("-m", "backspan", "run", "--", *python("-S", "-c", program, paths)), env())
    assert (done.returncode, done.stderr) == (0, "")
    assert len(sink.wait_spans(5)) == 5


def test_backspan_run_keeps_the_exit_code(env):
    done = run(python("-m", "backspan", "run", "--", *python("-c", "raise SystemExit(7)")), env())
    assert done.returncode == 7
    missing = run(python("-m", "backspan", "run", "no-such-program"), env())
    assert missing.returncode == 2 and "cannot start 'no-such-program'" in missing.stderr


def test_backspan_run_keeps_the_sitecustomize_of_the_application(env, tmp_path):
    (tmp_path / "sitecustomize.py").write_text("MARK = 'theirs'\n")
    code = "import sitecustomize, sys; print(sitecustomize.MARK, [p for p in sys.path if p.endswith('_site')])"
    command = python("-m", "backspan", "run", "--", *python("-c", code))
    done = run(command, env(PYTHONPATH=str(tmp_path)))
    assert done.stdout == "theirs []\n", done.stderr


def test_import_backspan_auto(env, sink):
    code = "import openai, backspan.auto, chat; chat.main()"  # openai is there already: it is patched at once
    done = run(python("-c", code), env(BACKSPAN=None))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(sink.wait_spans(5)) == 5


def test_import_backspan_auto_respects_an_operator_who_said_off(env, sink):
    done = run(python("-c", "import backspan.auto, chat; chat.main()"), env(BACKSPAN="0"))
    assert (done.returncode, done.stderr, sink.requests) == (0, "", [])


@pytest.mark.parametrize("variable", [None, "1"], ids=["alone", "with the .pth"])
def test_opentelemetry_instrument(variable, env, sink):
    launcher = "from opentelemetry.instrumentation.auto_instrumentation import run; run()"
    command = python("-c", launcher, *python("chat.py"))
    others = "openai,qdrant,httpx,httpx2"
    done = run(command, env(BACKSPAN=variable, OTEL_PYTHON_DISABLED_INSTRUMENTATIONS=others))
    assert done.returncode == 0, done.stderr
    spans = sink.wait_spans(5)
    assert Counter(span.name for span in spans if span.scope == "backspan") == CALLS


def test_an_instrumentation_of_others_is_switched_on_by_name(env, sink):
    done = run(python("chat.py"), env(BACKSPAN_INSTRUMENT="httpx,-qdrant_client"))
    assert (done.returncode, done.stderr) == (0, "")
    names = Counter(span.name for span in sink.wait_spans(10))
    assert names["POST"] == 5 and names["chat gpt-test"] == 4


# --- nobody listens --------------------------------------------------------------------------------------------------
def test_nobody_listens():
    """stderr has one line of ours and nothing else, and the process ends by itself within its time."""
    endpoint = f"http://127.0.0.1:{free_port()}"
    with OpenAIServer() as model:
        env = environment(BACKSPAN="1", OPENAI_BASE_URL=model.base_url, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint)
        done = run(python("chat.py"), env, timeout=60)
    assert done.returncode == 0
    (line,) = done.stderr.splitlines()
    assert line.startswith("backspan: ") and endpoint in line
