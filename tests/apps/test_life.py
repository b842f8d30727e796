"""How a process ends, and what of its last second arrives: the signal, the servers, the pools, and nobody listening."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections import defaultdict
from urllib.request import urlopen

import pytest
from tests.support.processes import APPS, free_port, hear_ctrl_c, python, run, serve

LATE = {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_METRIC_EXPORT_INTERVAL": "3600000"}
"""Nothing leaves by itself, so what arrives was sent at the end."""


FORKS = {"PYTHONWARNINGS": "ignore:This process:DeprecationWarning"}
"""Python 3.12 and later warn at a fork beside threads, and ours are threads, as the documentation says."""


def end(how, env, number=signal.SIGTERM, words=""):
    """Run `waits.py`, send it ``number`` when it is ready, and return its exit code and what it wrote."""
    process = subprocess.Popen([str(part) for part in python("waits.py", how)], cwd=APPS, env=env, text=True,
                               stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=hear_ctrl_c)
    with process:
        try:
            assert process.stdout.readline() == "ready\n", process.stderr.read()
            if number is not None:
                process.send_signal(number)
            out, err = process.communicate(words, timeout=60)
        finally:
            process.kill()  # one that did not end must not be waited for
    return process.returncode, out, err


def answers(sink):
    """Answers counted by each process: the last total that it sent."""
    totals = defaultdict(int)
    for point in sink.points:
        if point.metric == "backspan.answers":
            series = (point.resource["service.instance.id"], tuple(sorted(point.attributes.items())))
            totals[series] = max(totals[series], int(point.value))
    return sum(totals.values())


def arrived(sink, calls):
    return (len(sink.wait_spans(calls)), answers(sink)) == (calls, calls)


# --- a plain program -------------------------------------------------------------------------------------------------
HOWS = {"default": -signal.SIGTERM, "thread": -signal.SIGTERM, "before": 4, "after": 4, "chain": 4}


@pytest.mark.parametrize(("how", "code"), HOWS.items())
def test_sigterm_ends_it_as_without_us_and_its_last_second_arrives(how, code, env, sink):
    with_us = end(how, env(**LATE))
    without_us = end(how, env(BACKSPAN=None))
    assert with_us == without_us and with_us[0] == code and with_us[2] == ""
    assert arrived(sink, 1)


def test_a_signal_that_is_ignored_stays_so(env):
    with_us = end("ignore", env(**LATE), words="go\n")
    assert with_us == end("ignore", env(BACKSPAN=None), words="go\n") and with_us[0] == 4


def test_a_forked_child_that_is_ended(env, sink):
    with_us = end("fork", env(**LATE, **FORKS), None, "go\n")
    assert with_us == end("fork", env(BACKSPAN=None), None, "go\n") == (5, "child: -15\n", "")
    assert arrived(sink, 2)


def test_switched_off_the_default_kills_and_the_last_second_is_lost(env, sink):
    """The twin: what arrives above arrives through our handler."""
    assert end("default", env(**LATE, BACKSPAN_SIGTERM="off"))[0] == -signal.SIGTERM
    assert (sink.spans, sink.points) == ([], [])


def test_sigint_is_pythons(env, sink):
    with_us, without_us = (end("default", env(**more), signal.SIGINT) for more in (LATE, {"BACKSPAN": None}))
    assert with_us[:2] == without_us[:2] and "KeyboardInterrupt" in with_us[2]
    assert arrived(sink, 1)


def test_sigterm_with_nobody_listening(env):
    endpoint = f"http://127.0.0.1:{free_port()}"
    code, out, err = end("default", env(**LATE, OTEL_EXPORTER_OTLP_ENDPOINT=endpoint))
    assert (code, out) == (-signal.SIGTERM, "")
    (line,) = err.splitlines()
    assert line.startswith("backspan: cannot deliver") and endpoint in line


# --- servers ---------------------------------------------------------------------------------------------------------
def _nothing():
    pass


def _serve_some(command, environment, port, ready, workers=1, until=_nothing):
    """Ask five questions, wait ``until`` something has happened, and end the server; its exit code."""
    with serve(command, environment, port, ready, times=workers) as server:
        for number in range(5):
            with urlopen(f"{server.url}/ask?question=number+{number}", timeout=120) as reply:
                assert json.load(reply)["pid"]
        until()
    return server.process.returncode


@pytest.mark.parametrize("workers", [1, 2])
def test_uvicorn(workers, env, sink):
    command = python("-m", "uvicorn", "web:app", "--port", str(port := free_port()), "--workers", str(workers),
                     "--timeout-worker-healthcheck", "60")
    ready = "Uvicorn running" if workers == 1 else "Application startup complete"
    code = _serve_some(command, env(**LATE), port, ready, workers)
    assert arrived(sink, 5)
    assert code == _serve_some(command, env(BACKSPAN=None), port, ready, workers)


def test_uvicorn_that_is_not_followed_loses_the_last_second(env, sink):
    """The twin: without the hook on its `shutdown`, nothing of the above arrives."""
    port = free_port()
    command = python("-m", "uvicorn", "web:app", "--port", str(port))
    assert _serve_some(command, env(**LATE, BACKSPAN_SIGTERM="off"), port, "Uvicorn running") == -signal.SIGTERM
    assert sink.spans == []


@pytest.mark.parametrize("preload", [True, False])
def test_gunicorn(preload, env, model, sink):
    port, loads = free_port(), 1 if preload else 2  # each process that loads the application warms up once
    more = ["--preload"] if preload else []
    command = python("-m", "gunicorn", "wsgi:app", "--workers", "2", "--timeout", "300", "--bind", f"127.0.0.1:{port}",
                     *more)

    def loaded():
        """Of two workers one may have answered all questions before the other listens to signals."""
        end = time.monotonic() + 60
        while sum("embeddings" in request.path for request in model.requests) < loads:
            assert time.monotonic() < end
            time.sleep(0.05)

    code = _serve_some(command, env(**LATE), port, "Booting worker", 2, until=loaded)
    spans = sink.wait_spans(5 + loads)
    assert len({span.span_id for span in spans}) == len(spans) and answers(sink) == 5
    assert code == _serve_some(command, env(BACKSPAN=None), port, "Booting worker", 2) == 0


# --- pools, greenlets ------------------------------------------------------------------------------------------------
def test_celery_prefork(env, sink, tmp_path):
    environment = env(**LATE, TASKS_FOLDER=str(tmp_path))
    send = "import tasks\nfor number in range(6): tasks.ask.delay(f'number {number}')"
    assert run(python("-c", send), environment).returncode == 0
    worker = python("-m", "celery", "-A", "tasks", "worker", "--pool", "prefork", "--concurrency", "2",
                    "--without-gossip", "--without-mingle", "--without-heartbeat", "-l", "info")
    with serve(worker, environment, 0, r"Task tasks.ask\[.*succeeded", times=6) as server:
        pass
    assert server.process.returncode == 0, "".join(server.lines)
    assert arrived(sink, 6)


def test_gevent(env, sink):
    done = run(python("green.py"), env())
    assert (done.returncode, done.stdout, done.stderr) == (0, "20\n", "")
    assert arrived(sink, 20)


def test_a_forked_child_counts_for_itself(env, sink):
    code = (
        "import os, chat, openai\n"
        "chat.plain(openai.OpenAI())\n"
        "pid = os.fork()\n"
        "chat.plain(openai.OpenAI())\n"
        "if pid: os.waitpid(pid, 0)\n"
    )
    done = run(python("-c", code), env(**LATE, **FORKS))
    assert (done.returncode, done.stderr) == (0, "")
    assert len(sink.wait_spans(9)) == 9 and answers(sink) == 6  # embeddings are no answers


# --- an outage -------------------------------------------------------------------------------------------------------
def test_full_speed_loses_nothing(env, sink):
    code = (
        "import openai\n"
        "with openai.OpenAI() as client:\n"
        "    for number in range(300):\n"
        "        client.embeddings.create(model='embed-test', input='x')\n"
    )
    done = run(python("-c", code), env())
    assert (done.returncode, done.stderr) == (0, "")
    assert len({span.span_id for span in sink.wait_spans(300)}) == 300


def test_a_collector_that_refuses_until_the_end_delays_the_end_by_its_bound_only(env, sink):
    sink.refuse(503)
    done = run(python("chat.py"), env(), timeout=60)
    assert done.returncode == 0 and done.stdout and sink.spans == []
    (line,) = done.stderr.splitlines()
    assert line.startswith("backspan: cannot deliver")
