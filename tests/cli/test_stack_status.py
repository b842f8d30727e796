"""`backspan stack`: what it says of programs that are ill, dead or were never ended, and of ports that it was given.

The programs here are small Python servers that the real commands start and end; the real ones run in `tests/stack`.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
from tests.support import held

from backspan.cli import stack as command
from backspan.cli._local import health, last_line, tail
from backspan.cli._stack import process
from backspan.cli._stack import run as stacks
from backspan.cli._stack.plan import Plan, Ports, Program, busy, parse_ports, shifted
from backspan.cli._stack.process import ProgramFailed, Running

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(int(sys.argv[2]))
        self.end_headers()
        self.wfile.write(b"waiting for the ring")
    def log_message(self, *words): pass
print("listening", flush=True)
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    command.add_arguments(parser)
    return command.run(parser.parse_args(arguments))


def program(name: str, port: int, code: str = SERVER, status: int = 200) -> Program:
    url = f"http://127.0.0.1:{port}"
    return Program(name, (sys.executable, "-c", code, str(port), str(status)), f"{url}/ready", url, {})


@pytest.fixture
def plan(tmp_path: Path) -> Generator[Plan]:
    """Its ports are held: no other program's server comes to listen on one of them meanwhile."""
    with held.ports() as ports:
        yield Plan(tmp_path, ports, tmp_path)


@pytest.fixture
def stack(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> Generator[stacks.Stack]:
    """Two programs that run: one is well, one says that it is not ready."""
    two = (program("well", plan.ports.tempo), program("ill", plan.ports.gateway, status=503))
    monkeypatch.setattr(stacks, "programs", lambda plan: two)
    running = stacks.Stack(plan, {})
    for one in two:
        running.launch(one)
    try:
        for one in two:
            wait_listening(one)
        yield running
    finally:
        running.stop()


def wait_listening(one: Program) -> None:
    port, deadline = int(one.url.rpartition(":")[2]), time.monotonic() + 30
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"{one.name} does not listen")


def rows(capsys: pytest.CaptureFixture[str], stack: stacks.Stack) -> tuple[int, dict[str, Any]]:
    capsys.readouterr()
    code = run("status", "--json", f"--dir={stack.plan.folder}")
    return code, json.loads(capsys.readouterr().out)


# --- status -----------------------------------------------------------------------------------------------------------
def test_status_says_the_health_of_each(stack: stacks.Stack, capsys: pytest.CaptureFixture[str]) -> None:
    code, said = rows(capsys, stack)
    assert code == 1
    assert [(one["name"], one["state"], one["detail"]) for one in said["programs"]] == [
        ("well", "ready", None), ("ill", "starting", "503 waiting for the ring")]
    assert said["endpoint"] == f"http://127.0.0.1:{stack.plan.ports.otlp_http}"
    assert Path(said["programs"][0]["log"]).parent == Path(said["logs"])


def test_status_of_a_program_that_was_killed_shows_its_last_words(
    stack: stacks.Stack, capsys: pytest.CaptureFixture[str]
) -> None:
    os.kill(stack.running["ill"].pid, signal.SIGKILL)
    while stack.running["ill"].alive:
        time.sleep(0.02)
    code, said = rows(capsys, stack)
    assert (code, said["programs"][1]["state"], said["programs"][1]["detail"]) == (1, "stopped", "listening")
    assert run("status", f"--dir={stack.plan.folder}") == 1
    assert "last words: listening" in capsys.readouterr().out


def test_status_for_people_names_urls_and_logs(stack: stacks.Stack, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("status", f"--dir={stack.plan.folder}") == 1
    shown = capsys.readouterr()
    assert f"well          ready     http://127.0.0.1:{stack.plan.ports.tempo}" in shown.out
    assert str(stack.plan.logs / "ill.log") in shown.out and "not ready: 503 waiting" in shown.out
    assert f"OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:{stack.plan.ports.otlp_http}" in shown.err


# --- a second one, and one that was never ended -----------------------------------------------------------------------
def test_a_second_up_says_that_it_runs(stack: stacks.Stack) -> None:
    with pytest.raises(ProgramFailed, match=r"runs already \(well, ill\).*stack status.*stack down"):
        stacks.up(stack.plan, print, 1)
    assert stack.alive == ["well", "ill"]


def stale(plan: Plan) -> stacks.Stack:
    """What is left after the machine was started anew: numbers that now belong to others."""
    left = stacks.Stack(plan, {"well": Running(os.getpid(), "4711@an-earlier-start")}, Running(os.getpid(), "1@x"))
    stacks.save(left)
    return left


def test_after_a_restart_of_the_machine_nothing_runs(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    assert stale(plan).alive == []
    assert run("status", f"--dir={plan.folder}") == 1
    assert "was not ended by `down`" in capsys.readouterr().err
    assert run("down", f"--dir={plan.folder}") == 0  # and we are still here
    assert stacks.load(plan.folder) is None


def test_up_goes_on_from_what_a_restart_left(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stale(plan)
    said: list[str] = []
    monkeypatch.setattr(stacks, "programs", lambda plan: (program("well", plan.ports.tempo),))
    monkeypatch.setattr(stacks, "render", lambda plan: None)
    running = stacks.up(plan, said.append, 30)
    try:
        assert "its data are kept" in said[0] and running.alive == ["well"]
    finally:
        assert stacks.down(running) == []


def test_a_process_of_this_start_is_known_again() -> None:
    """The twin of the two above: the same number, born at the same time, is the same process."""
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as other:
        one = Running(other.pid, process.born(other.pid))
        assert one.alive and "@" in one.born
        assert not Running(one.pid, one.born.partition("@")[0] + "@another-start").alive


# --- a program that dies ----------------------------------------------------------------------------------------------
def test_only_the_words_of_the_last_run_are_shown(tmp_path: Path) -> None:
    for word in ("first", "second"):
        one = program("odd", 1, f"raise SystemExit('{word} run failed')")
        running = process.start(one, tmp_path)
        with pytest.raises(ProgramFailed, match=f"{word} run failed") as failure:
            process.wait_ready(one, running, tmp_path, 30)
    assert "first run failed" not in str(failure.value)
    log = process.log_of(one, tmp_path)
    assert "first run failed" in tail(log) and last_line(log) == "second run failed"


def test_the_end_of_a_long_log_is_read_and_not_all_of_it(tmp_path: Path) -> None:
    log = tmp_path / "long.log"
    log.write_text("x" * 300_000 + "\nthe end\n", encoding="utf-8")
    assert last_line(log) == "the end" and len(tail(log)) < 110_000
    assert last_line(tmp_path / "none.log") is None


def test_health_says_why(plan: Plan) -> None:
    assert "refused" in (health(f"http://127.0.0.1:{plan.ports.tempo}/") or "").lower()


# --- ports ------------------------------------------------------------------------------------------------------------
def test_ports_may_be_given_by_name() -> None:
    assert parse_ports("gateway=9000,tempo=9001") == Ports(gateway=9000, tempo=9001)
    assert parse_ports("1000,gateway=9000").prometheus == shifted(1000).prometheus
    assert parse_ports("auto,gateway=9000").gateway == 9000


@pytest.mark.parametrize(("given", "said"), [
    ("gatway=9000", "'gatway=9000' is not one of otlp_grpc"), ("gateway=80", "1024"), ("gateway=", "gateway="),
    ("gateway=9090", "would share port 9090"), ("many", "must be default"), ("1000,5", "'5' is not one of"),
])
def test_wrong_ports_are_refused(given: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        run("up", f"--ports={given}")
    shown = " ".join(capsys.readouterr().err.split())
    assert "--ports" in shown and said in shown


def test_a_port_in_use_names_the_option(plan: Plan) -> None:
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", plan.ports.alertmanager))
        holder.listen()
        assert busy(plan.ports) == {"alertmanager": plan.ports.alertmanager}
        with pytest.raises(ProgramFailed, match=rf"port {plan.ports.alertmanager} \(alertmanager\) in use.*--ports"):
            stacks.up(plan, print, 1)
    assert busy(plan.ports) == {}
