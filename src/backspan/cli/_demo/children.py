"""The demo's child processes: started with a log file each, watched, and all gone when the demo is."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from backspan.cli._local import answers, tail

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 8.0


class ChildFailed(Exception):
    """A child ended, or does not answer. The message names it and shows the end of its log."""


@dataclass(frozen=True)
class Child:
    """One running process: what it is called, where it answers and where its output goes."""

    name: str
    url: str
    log: Path
    process: subprocess.Popen[bytes]

    def failed(self, what: str) -> ChildFailed:
        """An error that shows the end of the log."""
        return ChildFailed(f"{self.name} {what}. The end of its output:\n{tail(self.log)}")


class Children:
    """Starts processes and, as a context manager, ends them in reverse order however the block is left."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._all: list[Child] = []

    def __enter__(self) -> Children:
        return self

    def __exit__(self, *exc: object) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # an impatient second Ctrl-C must not strand a child
        try:
            self.stop()
        finally:
            signal.signal(signal.SIGINT, before)

    def start(self, name: str, url: str, command: Sequence[str], env: Mapping[str, str], cwd: Path) -> Child:
        """Start ``command`` in a session of its own, so that Ctrl-C reaches only us and we end it in order."""
        log = self._folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=dict(env), cwd=cwd, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )
        child = Child(name, url, log, process)
        self._all.append(child)
        return child

    def wait_ready(self, child: Child, timeout_s: float = START_TIMEOUT_S) -> None:
        """Wait until ``child`` answers at its ``/healthz``. Raises ChildFailed."""
        deadline = time.monotonic() + timeout_s
        while not answers(f"{child.url}/healthz"):
            self.check()
            if time.monotonic() > deadline:
                raise child.failed(f"did not answer at {child.url} within {timeout_s:.0f} s")
            time.sleep(0.05)

    def check(self) -> None:
        """Raise ChildFailed if any child has ended."""
        for child in self._all:
            code = child.process.poll()
            if code is not None:
                raise child.failed(f"ended with {_exit(code)}")

    def pids(self) -> dict[str, int]:
        """Process id of each child by name."""
        return {child.name: child.process.pid for child in self._all}

    def stop(self) -> None:
        """End every child, the last started first: politely, then for sure."""
        while self._all:
            child = self._all.pop()
            _signal(child, signal.SIGTERM)
            try:
                child.process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                _signal(child, signal.SIGKILL)
                child.process.wait()


def _signal(child: Child, number: int) -> None:
    try:
        os.killpg(child.process.pid, number)
    except ProcessLookupError:  # it has gone already, and so has its group
        pass


def _exit(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now, all different."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(count)]
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
