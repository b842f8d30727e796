"""Run the applications of `tests/apps` as processes of their own, as a user would."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

APPS = Path(__file__).resolve().parent.parent / "apps"


def environment(base: Mapping[str, str] | None = None, **more: str | None) -> dict[str, str]:
    """The parent's environment without a setting of ours or of OpenTelemetry, plus ``more`` (None takes away)."""
    given = dict(os.environ if base is None else base)
    ours = ("BACKSPAN", "OTEL_", "OPENAI_", "PYTEST_")
    clean = {name: value for name, value in given.items() if not name.startswith(ours)}
    clean.update({"OPENAI_API_KEY": "test", "PYTHONUNBUFFERED": "1", "NO_PROXY": "*"})
    clean.update({name: value for name, value in more.items() if value is not None})
    return clean


def run(
    command: Sequence[str | Path], env: Mapping[str, str], *, cwd: Path = APPS, timeout: float = 120
) -> subprocess.CompletedProcess[str]:
    """Run ``command`` to its end and return what it wrote; it may fail."""
    return subprocess.run(
        [str(part) for part in command], env=dict(env), cwd=cwd, capture_output=True, text=True, timeout=timeout
    )


def hear_ctrl_c() -> None:
    """For ``preexec_fn``: a shell starts what runs in its background with SIGINT ignored, and children inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Server:
    """A running server process: its URL, and what it has written to stderr so far."""

    def __init__(self, process: subprocess.Popen[str], url: str, ready: str, times: int) -> None:
        self.process, self.url = process, url
        self.lines: list[str] = []
        self._pattern, self._missing = re.compile(ready), times
        self._ready = threading.Event()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        with self.process.stderr as stream:
            for line in stream:
                self.lines.append(line)
                self._missing -= bool(self._pattern.search(line))
                if self._missing <= 0:
                    self._ready.set()
        self._ready.set()

    def wait(self, timeout: float = 60) -> None:
        """Block until the server has said that it is ready.

        Raises:
            RuntimeError: with what it wrote, if it ended or said nothing in time.
        """
        if not self._ready.wait(timeout) or self._missing > 0:
            raise RuntimeError("no server:\n" + "".join(self.lines))


def reserved(port: int = 0) -> socket.socket:
    """A socket bound to a port of loopback (any free one, or ``port``) and not listened on.

    The system gives the port to nobody else, whoever connects is refused, and a server may take it, again and again, as
    servers set SO_REUSEADDR.
    """
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind(("127.0.0.1", port))
    return holder


def free_port() -> int:
    """A TCP port of loopback that is `reserved` until this process ends: nobody listens there but who is told to."""
    holder = reserved()
    port = holder.getsockname()[1]
    holder.detach()  # left open on purpose
    return port


@contextmanager
def serve(
    command: Sequence[str | Path], env: Mapping[str, str], port: int, ready: str, times: int = 1
) -> Generator[Server]:
    """Run a server process for the block; it is ready when ``times`` lines of its stderr match ``ready``.

    It is ended as an operator would: by SIGTERM to the parent.
    """
    process = subprocess.Popen(
        [str(part) for part in command],
        env=dict(env),
        cwd=APPS,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    server = Server(process, f"http://127.0.0.1:{port}", ready, times)
    try:
        server.wait()
        yield server
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait(60)
        server.reader.join(60)


def python(*arguments: str | Path) -> list[str | Path]:
    """The command line for the interpreter that runs the tests."""
    return [sys.executable, *arguments]
