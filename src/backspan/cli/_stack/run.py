"""All programs of a stack, and the state file that says what runs: ``state.json`` in the stack's folder."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backspan.cli._local import health, last_line
from backspan.cli._stack import process
from backspan.cli._stack.plan import Plan, Program, busy, programs
from backspan.cli._stack.process import ProgramFailed, Running
from backspan.cli._stack.render import render

PATIENCE_S = 8.0
"""How long a program may take to end before it is killed. All but Tempo need about two seconds."""
_WATCH_S = 0.5


@dataclass
class Stack:
    """A stack that runs, or ran: its plan, and the process of each program by name."""

    plan: Plan
    running: dict[str, Running]
    keeper: Running | None = None
    """The foreground command that ends the programs when it ends; None if nobody does."""

    @property
    def alive(self) -> list[str]:
        """Names of the programs that run."""
        return [name for name, running in self.running.items() if running.alive]

    @property
    def programs(self) -> tuple[Program, ...]:
        return programs(self.plan)

    def program(self, name: str) -> Program:
        """Raises StopIteration for a name that is none."""
        return next(program for program in self.programs if program.name == name)

    def start(self, name: str, timeout_s: float = 60.0) -> None:
        """Start one program and wait for it. Raises ProgramFailed."""
        self.launch(self.program(name))
        self.wait(self.program(name), timeout_s)

    def launch(self, program: Program) -> None:
        """Start one program without waiting; the state file knows of it at once. Raises ProgramFailed."""
        self.running[program.name] = process.start(program, self.plan.folder)
        save(self)

    def wait(self, program: Program, timeout_s: float) -> None:
        """Wait until a started program is ready. Raises ProgramFailed."""
        process.wait_ready(program, self.running[program.name], self.plan.folder, timeout_s)

    def stop(self, *names: str) -> list[str]:
        """End the named programs, all if none is named. Returns the names of those that had to be killed.

        Who sends is ended before who is sent to, the Collector first: its queue keeps what it could not deliver.
        """
        wanted = [p.name for p in reversed(self.programs) if p.name in (names or tuple(self.running))]
        killed: list[str] = []
        first = [self.running[name] for name in wanted if name == "collector"]
        rest = [self.running[name] for name in wanted if name != "collector" and name in self.running]
        for group in (first, rest):
            stubborn = process.stop(group, PATIENCE_S)
            killed += [name for name, running in self.running.items() if running in stubborn]
        return killed

    def status(self) -> list[dict[str, Any]]:
        """One row for each program: name, URL, pid, log, and state: ``ready``, ``starting`` or ``stopped``.

        ``detail`` is what a program that is not ready says about it, or the last line of the log of one that stopped.
        """
        return [self._status(program) for program in self.programs]

    def _status(self, program: Program) -> dict[str, Any]:
        running = self.running.get(program.name)
        alive = running is not None and running.alive
        log = process.log_of(program, self.plan.folder)
        said = health(program.ready) if alive else last_line(log)
        return {
            "name": program.name,
            "state": ("ready" if said is None else "starting") if alive else "stopped",
            "detail": said,
            "url": program.url,
            "pid": running.pid if running and alive else None,
            "log": str(log),
        }


def up(plan: Plan, say: Callable[[str], None], timeout_s: float) -> Stack:
    """Render, start everything, wait until all is ready. If one program fails, the others are ended again.

    Raises:
        ProgramFailed: if a program failed, a port is busy, or the folder's stack runs already.
        RenderFailed: if a configuration is not as expected.
    """
    _refuse_second(plan.folder, say)
    if taken := busy(plan.ports):
        raise ProgramFailed(f"{_named(taken)} in use on this machine; --ports takes others: `--ports auto`, an offset "
                            f"as in `--ports 1000`, or `--ports {next(iter(taken))}=PORT`")
    plan.data.mkdir(parents=True, exist_ok=True)
    render(plan)
    stack = Stack(plan, {})
    try:
        for program in stack.programs:
            stack.launch(program)
        for program in stack.programs:
            stack.wait(program, timeout_s)
            say(f"{program.name} is ready: {program.url}")
    except BaseException:
        down(stack)
        raise
    return stack


def watch(stack: Stack) -> None:
    """Return never while all programs run.

    Raises:
        ProgramFailed: when one has ended.
    """
    stack.keeper = Running(os.getpid(), process.born(os.getpid()))
    save(stack)
    while True:
        for program in stack.programs:
            if not stack.running[program.name].alive:
                raise process.failed(program, stack.plan.folder, "ended by itself")
        time.sleep(_WATCH_S)


def down(stack: Stack) -> list[str]:
    """End everything and forget it. Returns the names of programs that had to be killed."""
    killed = stack.stop()
    _state(stack.plan.folder).unlink(missing_ok=True)
    return killed


def save(stack: Stack) -> None:
    """Write the state file."""
    found = {
        "plan": stack.plan.as_json(),
        "running": {name: [one.pid, one.born] for name, one in stack.running.items()},
        "keeper": [stack.keeper.pid, stack.keeper.born] if stack.keeper else None,
    }
    draft = _state(stack.plan.folder).with_suffix(".new")
    draft.write_text(json.dumps(found, indent=2), encoding="utf-8")
    draft.replace(_state(stack.plan.folder))


def load(folder: Path) -> Stack | None:
    """The stack of ``folder`` as its state file tells, None if there is none.

    Raises:
        ProgramFailed: if the file cannot be understood.
    """
    path = _state(folder)
    if not path.exists():
        return None
    try:
        found: Any = json.loads(path.read_text(encoding="utf-8"))
        running = {name: Running(*one) for name, one in found["running"].items()}
        keeper = Running(*found["keeper"]) if found["keeper"] else None
        return Stack(Plan.from_json(found["plan"]), running, keeper)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ProgramFailed(f"{path} cannot be understood ({error}); end what it names, then delete it") from error


def _refuse_second(folder: Path, say: Callable[[str], None]) -> None:
    stack = load(folder)
    if stack is None:
        return
    if stack.alive:
        raise ProgramFailed(f"the stack in {folder} runs already ({', '.join(stack.alive)}); `backspan stack status` "
                            "shows it, `backspan stack down` ends it, another --dir and --ports make a second one")
    say(f"the stack in {folder} was not ended by `down` (a crash, or this machine was started anew); its data are kept")


def _state(folder: Path) -> Path:
    return folder / "state.json"


def _named(ports: dict[str, int]) -> str:
    return ", ".join(f"port {port} ({name})" for name, port in ports.items())
