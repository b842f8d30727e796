"""A Collector in a network namespace of its own, with two cables that can be pulled.

One leads to who sends, one to the programs that it sends to. A pulled cable answers nothing, as in a real network:
connections hang instead of being refused. Needs root, `ip` and `socat`.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace

from tests.stack.conftest import START_S, House

from backspan.cli._stack import process
from backspan.cli._stack.plan import Program

SPACE = "backspan-drill"
FRONT, BACK = "bsfront", "bsback"
"""Names of the cables' ends on this side."""
_NET = {FRONT: "10.77.0", BACK: "10.77.1"}
_LOCAL = "127.0.0.1"


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True)


@contextmanager
def namespace() -> Generator[None]:
    """The namespace and both cables: this side has ``.1`` on each, the Collector ``.2``."""
    _remove()
    _ip("netns", "add", SPACE)
    try:
        _ip("-n", SPACE, "link", "set", "lo", "up")
        for name, net in _NET.items():
            _ip("link", "add", name, "type", "veth", "peer", "name", f"{name}2", "netns", SPACE)
            _ip("addr", "add", f"{net}.1/30", "dev", name)
            _ip("-n", SPACE, "addr", "add", f"{net}.2/30", "dev", f"{name}2")
            _ip("link", "set", name, "up")
            _ip("-n", SPACE, "link", "set", f"{name}2", "up")
        yield
    finally:
        _remove()


def _remove() -> None:
    """Take away what there is. The cables by name: they go with their namespace, but some time after it."""
    for thing in (*(("link", "del", name) for name in _NET), ("netns", "del", SPACE)):
        subprocess.run(["ip", *thing], check=False, capture_output=True)


@contextmanager
def pulled(name: str, seconds: float) -> Generator[None]:
    """One cable pulled for at least ``seconds``, and for the block."""
    began = time.monotonic()
    _ip("link", "set", name, "down")
    try:
        yield
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))
    finally:
        _ip("link", "set", name, "up")


@contextmanager
def _passed_on(here: str, port: int, there: str) -> Generator[None]:
    """What comes in at ``here`` goes to the same port of ``there``."""
    command = ["socat", f"TCP-LISTEN:{port},bind={here},fork,reuseaddr", f"TCP:{there}:{port}"]
    relay = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        yield
    finally:
        relay.terminate()
        relay.wait(60)


@dataclass(frozen=True)
class Moved:
    """The house's Collector in the namespace; `start` runs it there."""

    house: House

    def program(self) -> Program:
        """The command of the stack, with addresses of the cables."""
        shipped = self.house.stack.program("collector")
        front, back = f"{_NET[FRONT]}.2", f"{_NET[BACK]}.1"
        ours = ("COLLECTOR_OTLP_GRPC", "COLLECTOR_OTLP_HTTP", "COLLECTOR_HEALTH")
        targets = ("TEMPO_OTLP_GRPC", "PROMETHEUS_URL", "GATEWAY_URL")
        env = {name: value.replace(_LOCAL, front if name in ours else back if name in targets else _LOCAL)
               for name, value in shipped.env.items()}
        command = ("ip", "netns", "exec", SPACE, *shipped.command)
        return replace(shipped, command=command, env=env, ready=shipped.ready.replace(_LOCAL, front))

    def start(self) -> None:
        """Run it and wait until it is ready. Raises ProgramFailed."""
        program, stack = self.program(), self.house.stack
        stack.running["collector"] = process.start(program, stack.plan.folder)
        process.wait_ready(program, stack.running["collector"], stack.plan.folder, START_S)


@contextmanager
def moved(house: House) -> Generator[Moved]:
    """The Collector of ``house`` at the end of two cables, for the block; it is back on loopback after it."""
    ports = house.backend.ports
    with house.without("collector"), namespace(), ExitStack() as relays:
        relays.enter_context(_passed_on(_LOCAL, ports.otlp_http, f"{_NET[FRONT]}.2"))
        for port in (ports.tempo_otlp, ports.prometheus, ports.gateway):
            relays.enter_context(_passed_on(f"{_NET[BACK]}.1", port, _LOCAL))
        one = Moved(house)
        one.start()
        try:
            yield one
        finally:
            house.stack.stop("collector")
