"""Real server processes on free ports, with databases of their own, spoken to over HTTP."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
import threading
import time
import weakref
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import pytest

from backspan import config, semconv
from backspan.context import Target
from backspan.feedback.token import mint
from tests.support import databases
from tests.support.held import hold
from tests.support.processes import environment

KEY = "aGVsbG8gdGhpcyBpcyBhIGtleSBmb3IgdGVzdHMgISE="
DIMS = {semconv.REQUEST_MODEL: "m-1", semconv.PROMPT_NAME: "support", semconv.PROMPT_VERSION: "7",
        semconv.SERVICE_NAME: "chat", semconv.ENVIRONMENT: "test"}
READY = re.compile(r"backspan (?:gateway|up): (http://[^,\s]+), data in ")
"""The line that says where a server serves. It need not be the first: one that comes back tells of its outbox, too."""
MAIN = "import sys; from backspan.cli import main; sys.exit(main(sys.argv[1:]))"
TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TARGET = {"trace_id": TRACE, "span_id": SPAN}


@dataclass
class Server:
    """One server process. `start` may be called again after `kill` or `stop`: same database, same port.

    The port is held for as long as there is this object: while the process is away, nobody else gets it.
    """

    command: str
    arguments: list[str]
    env: dict[str, str]
    process: subprocess.Popen | None = None
    url: str = ""
    lines: list[str] = field(default_factory=list)
    _reader: threading.Thread | None = None
    before: ClassVar[str] = ""
    """Python that its process runs first: what a twin breaks."""

    def start(self) -> Server:
        port = urlsplit(self.url).port or self._port()
        self.process = subprocess.Popen(self.command_line(port), env=self.env, stderr=subprocess.PIPE, text=True)
        self.url = self._ready(self.process.stderr)
        self._reader = threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True)
        self._reader.start()
        return self

    def _ready(self, stream) -> str:
        """Where it serves. Raises RuntimeError with what it wrote, if it ended instead."""
        for line in stream:
            self.lines.append(line)
            if found := READY.match(line):
                return found[1]
        stream.close()
        self.process.wait(60)
        raise RuntimeError("".join(self.lines))

    def _port(self) -> int:
        held = ExitStack()
        weakref.finalize(self, held.close)
        return held.enter_context(hold())

    def command_line(self, port: int) -> list[str]:
        program = ("-c", f"{self.before}\n{MAIN}") if self.before else ("-m", "backspan")
        return [sys.executable, *program, self.command, "--port", str(port), *self.arguments]

    def _read(self, stream):
        with stream:
            self.lines.extend(stream)

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self._end()

    def stop(self) -> int:
        if self.process is None:
            return 0
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self._end()

    def _end(self) -> int:
        code = self.process.wait(60)
        if self._reader is not None:
            self._reader.join(60)
        return code

    def request(self, method, path, body=None, headers=()):
        """(status, headers, body as bytes)."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=60)
        sent = json.dumps(body).encode() if isinstance(body, dict | list) else body
        given = {"Content-Type": "application/json"} if sent is not None else {}
        try:
            connection.request(method, path, sent, {**given, **dict(headers)})
            response = connection.getresponse()
            return response.status, dict(response.getheaders()), response.read()
        finally:
            connection.close()

    def json(self, path, method="GET", body=None, **headers):
        status, _, answer = self.request(method, path, body, {k.replace("_", "-"): v for k, v in headers.items()})
        return status, json.loads(answer)

    def vote(self, body, method="POST", **headers):
        return self.json("/v1/feedback", method, body, **headers)

    def metrics(self, openmetrics=False):
        accept = {"Accept": "application/openmetrics-text; version=1.0.0"} if openmetrics else {}
        return self.request("GET", "/metrics", headers=accept)[2].decode()


def until(question, seconds=60):
    """Ask until the answer is true, and return it; a deadline, not a duration, decides."""
    deadline = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < deadline, "did not happen"
        time.sleep(0.05)
    return answer


@pytest.fixture(scope="module")
def servers(tmp_path_factory):
    """Make servers; those that still run when the module ends are stopped."""
    with ExitStack() as stack:

        def make(command="up", *arguments, folder: Path | None = None, **env):
            folder = folder or tmp_path_factory.mktemp(command)
            said = environment(BACKSPAN_DATA_DIR=str(folder), BACKSPAN_TOKEN_KEYS=KEY, **env)
            file = folder / f"{command}.db"
            place = databases.arguments(file) if databases.on_postgresql() and "--db" not in arguments else []
            server = Server(command, [*place, *arguments], said)
            stack.callback(databases.drop, file)
            stack.callback(server.stop)
            return server

        yield make


@pytest.fixture(scope="module")
def up(servers):
    return servers().start()


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    monkeypatch.setenv("BACKSPAN_TOKEN_KEYS", KEY)
    config.reload()
    yield
    config.reload()


def token(number=1, *, now=None, **more):
    target = {"trace_id": f"{number:032x}", "span_id": f"{number:016x}", "trace_flags": 1, "dims": DIMS,
              "at": time.time() - 5}
    return mint(Target(**{**target, **more.pop("target", {})}), now=now, **more)
