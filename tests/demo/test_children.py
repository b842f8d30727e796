"""Child processes: watched while they live, gone afterwards."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from tests.support.processes import free_port

from backspan.cli._demo.children import ChildFailed, Children, free_ports

SERVER = """
import http.server, sys
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200); self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""
STUBBORN = """
import signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("here", flush=True)
time.sleep(600)
"""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_child_is_ready_when_it_answers_and_gone_after_the_block(tmp_path: Path) -> None:
    port = free_port()
    with Children(tmp_path) as children:
        command = [sys.executable, "-c", SERVER, str(port)]
        child = children.start("server", f"http://127.0.0.1:{port}", command, {}, tmp_path)
        children.wait_ready(child)
        pid = children.pids()["server"]
        assert _alive(pid)
    assert not _alive(pid)


def test_a_crashed_child_is_reported_with_the_end_of_its_log(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        command = [sys.executable, "-c", "print('line'); raise SystemExit('the reason')"]
        child = children.start("server", "http://127.0.0.1:9", command, {}, tmp_path)
        with pytest.raises(ChildFailed, match=r"server ended with exit code 1(.|\n)*\| the reason"):
            children.wait_ready(child)


def test_a_child_that_never_answers_is_reported(tmp_path: Path) -> None:
    with Children(tmp_path) as children:
        command = [sys.executable, "-c", "import time; time.sleep(600)"]
        child = children.start("server", "http://127.0.0.1:9", command, {}, tmp_path)
        with pytest.raises(ChildFailed, match=r"did not answer(.|\n)*printed nothing"):
            children.wait_ready(child, timeout_s=0.2)


def test_a_child_that_ignores_the_request_to_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backspan.cli._demo.children.STOP_TIMEOUT_S", 0.3)
    with Children(tmp_path) as children:
        child = children.start("stubborn", "http://127.0.0.1:9", [sys.executable, "-c", STUBBORN], {}, tmp_path)
        while "here" not in child.log.read_text():
            children.check()
    assert not _alive(child.process.pid)


def test_ports_differ() -> None:
    assert 5 == len(set(free_ports(5)))
