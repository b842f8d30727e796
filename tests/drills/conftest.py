"""A stack of its own: drills stop, kill and starve its programs."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest
from tests.drills.load import Load
from tests.stack import conftest as stack
from tests.stack.conftest import House

programs, model = stack.programs, stack.model


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Generator[House]:
    """The whole back end, running."""
    with stack.running(tmp_path_factory.mktemp("drill")) as house:
        yield house


def kill(house: House, name: str, down_s: float) -> None:
    """End one program as a machine does that loses power, and start it again."""
    running = house.stack.running[name]
    os.kill(running.pid, signal.SIGKILL)
    while running.alive:
        time.sleep(0.02)
    time.sleep(down_s)
    house.stack.start(name, stack.START_S)


def end(house: House, name: str, down_s: float) -> None:
    """End one program as an operator does, and start it again."""
    with house.without(name):
        time.sleep(down_s)


def load(house: House, service: str, seed: int, **more: int) -> Load:
    """Senders to this house, in the name of ``service``."""
    return Load(house.backend.ports.otlp_http, house.backend.ports.gateway, service, seed, **more)


@contextmanager
def configured(house: House, shipped: str, other: str) -> Generator[None]:
    """The Collector's file with ``other`` in place of ``shipped``, for the block; who starts it there decides."""
    path = house.stack.plan.config / "collector.yaml"
    before = path.read_text(encoding="utf-8")
    assert shipped in before
    path.write_text(before.replace(shipped, other), encoding="utf-8")
    try:
        yield
    finally:
        path.write_text(before, encoding="utf-8")
        kill(house, "collector", 0)
