"""One program: started with a log of its own, asked whether it is ready, and gone when it is told to go."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cache
from pathlib import Path

from backspan.cli._local import answers, tail
from backspan.cli._stack.plan import Program

_POLL_S = 0.1
_MARK = "=== backspan stack starts"
"""Begins the line that parts one run from the next in a log."""

_STATE, _THREADS, _STARTED = 0, 17, 19
"""Places in ``/proc/PID/stat``, from the one after the program's name."""

_children: dict[int, subprocess.Popen[bytes]] = {}
"""What this very process started, so that it is also the one that takes note of its end."""


class ProgramFailed(Exception):
    """A program ended or is not ready. The message names it and shows the end of its log."""


@dataclass(frozen=True)
class Running:
    """A process that was started: ``born`` tells it from a later one with the same number."""

    pid: int
    born: str

    @property
    def alive(self) -> bool:
        """Whether this very process still runs."""
        return born(self.pid) == self.born


def start(program: Program, folder: Path) -> Running:
    """Start ``program`` in a session of its own, so that Ctrl-C reaches only us and we end all in order.

    Raises:
        ProgramFailed: if it cannot be started at all.
    """
    log = log_of(program, folder)
    log.parent.mkdir(parents=True, exist_ok=True)
    env = {**os.environ, **program.env}
    try:
        with log.open("ab", buffering=0) as output:
            output.write(f"{_MARK} {program.name}, {datetime.now(timezone.utc):%Y-%m-%dT%H:%M:%SZ}\n".encode())
            child = subprocess.Popen(
                program.command, env=env, cwd=folder, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
                start_new_session=True,
            )
    except OSError as error:
        raise ProgramFailed(f"{program.name} did not start: {error}") from error
    _children[child.pid] = child
    return Running(child.pid, born(child.pid))


def log_of(program: Program, folder: Path) -> Path:
    """The file that a program's output is appended to."""
    return folder / "logs" / f"{program.name}.log"


def wait_ready(program: Program, running: Running, folder: Path, timeout_s: float) -> None:
    """Wait until ``program`` says that it is ready.

    Raises:
        ProgramFailed: if it ended, or was not ready in time.
    """
    deadline = time.monotonic() + timeout_s
    while not answers(program.ready):
        if not running.alive:
            raise failed(program, folder, "ended while starting")
        if time.monotonic() > deadline:
            raise failed(program, folder, f"was not ready within {timeout_s:.0f} s at {program.ready}")
        time.sleep(_POLL_S)


def failed(program: Program, folder: Path, what: str) -> ProgramFailed:
    """An error that shows the end of the program's log."""
    log = log_of(program, folder)
    return ProgramFailed(f"{program.name} {what}. The end of {log}:\n{tail(log, _MARK)}")


def stop(processes: Sequence[Running], patience_s: float) -> list[Running]:
    """End all: TERM, wait for ``patience_s``, KILL. Returns those that had to be killed.

    Tempo is known to finish its work and then not to exit: what it had accepted is on disk by then.
    """
    for process in processes:
        _signal(process, signal.SIGTERM)
    _wait_gone(processes, patience_s)
    stubborn = [process for process in processes if process.alive]
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    _wait_gone(stubborn, patience_s)
    return stubborn


def _wait_gone(processes: Sequence[Running], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while any(process.alive for process in processes) and time.monotonic() < deadline:
        time.sleep(_POLL_S)


def _signal(process: Running, number: int) -> None:
    if process.alive:
        try:
            os.kill(process.pid, number)
        except ProcessLookupError:
            pass


def born(pid: int) -> str:
    """When process ``pid`` started, in whatever form the system tells it; ``""`` if it does not run.

    It runs until the last of its threads has ended: only then are its ports and its files free for the next one.
    """
    child = _children.get(pid)
    if child is not None and child.poll() is not None:
        _children.pop(pid, None)
        return ""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except FileNotFoundError:
        return "" if Path("/proc/self/stat").exists() else _asked(pid)
    except ProcessLookupError:
        return ""
    values = stat.rpartition(")")[2].split()
    return "" if child is None and _over(values) else f"{values[_STARTED]}@{_boot()}"


def _over(values: Sequence[str]) -> bool:
    """Tell from its ``stat`` whether a process of somebody else has ended, and only its parent has not noticed.

    The state is that of the first thread, which may be a zombie while others still hold what the process had open.
    """
    return values[_STATE] in "ZX" and int(values[_THREADS]) <= 1


@cache
def _boot() -> str:
    """Id of this start of the machine: the ticks since it are no date, and numbers of processes come again after it."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _asked(pid: int) -> str:
    """Where there is no /proc (macOS)."""
    found = subprocess.run(["ps", "-o", "lstart=", "-p", str(pid)], capture_output=True, text=True, check=False)
    return found.stdout.strip()


