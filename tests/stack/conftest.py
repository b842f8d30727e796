"""One real back end for all tests of this folder, on free ports, with rules that are evaluated every two seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.stack.backend import Backend, until
from tests.stack.pager import Pager
from tests.support import held
from tests.support.openai_server import OpenAIServer
from tests.support.processes import environment, python, run

from backspan.cli._stack.build import bin_dir
from backspan.cli._stack.plan import Ports
from backspan.cli._stack.run import Stack, load
from backspan.rules import series
from backspan.rules.spec import default_path

INTERVAL_S = 2
"""Seconds between evaluations, instead of the shipped fifteen."""
STACK_DIR = str(bin_dir().parent)
"""Read before the tests' clean environment hides where the developer's programs are."""
START_S = 180.0
"""How long a program may take to be ready again on a busy machine."""
PROMISE = 1000
"""Rated events to one false alarm, instead of the shipped hundred thousand: a dozen bad votes are an alarm."""


@dataclass(frozen=True)
class House:
    """The running stack, who asks it, who is paged, and the folder that all of it writes to."""

    stack: Stack
    backend: Backend
    pager: Pager
    folder: Path

    @contextmanager
    def without(self, name: str) -> Generator[None]:
        """One program stopped for the block, and started again after it."""
        self.stack.stop(name)
        try:
            yield
        finally:
            self.stack.start(name, START_S)

    def ask(self, model: OpenAIServer, *, heard: bool = True, **more: str) -> str:
        """Run an application that knows nothing of us; the id of its first answer.

        ``heard`` says that somebody listens to its telemetry, so that it has nothing to complain about.
        """
        first = len(model.requests) + 1
        done = run(python("chat.py"), self.environment(model, **more))
        assert done.returncode == 0, done.stderr
        assert not heard or done.stderr == ""
        return f"chatcmpl-{first:06d}"

    def environment(self, model: OpenAIServer, **more: str) -> dict[str, str]:
        """What an operator sets: the variable and where to send; and where the application's model is."""
        given = {
            "BACKSPAN": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{self.backend.ports.otlp_http}",
            "BACKSPAN_DATA_DIR": str(self.folder / "data"),
            "OPENAI_BASE_URL": model.base_url,
        }
        return environment(**{**given, **more})


def backspan(*arguments: str, folder: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as a user does, with ``more`` in its environment."""
    return subprocess.run(
        [sys.executable, "-m", "backspan", *arguments], capture_output=True, text=True, timeout=2 * START_S,
        env=environment(BACKSPAN_DATA_DIR=str(folder / "data"), BACKSPAN_STACK_DIR=STACK_DIR, **more),
    )


def _rules(folder: Path) -> Path:
    """The shipped rules, in a hurry: thumbs are watched against a given standard, as nobody learns in a minute."""
    spec = yaml.safe_load(default_path().read_text(encoding="utf-8"))
    thumbs = next(chart for chart in spec["charts"] if chart["name"] == "thumbs_down")
    thumbs |= {"false_alarm_every": PROMISE, "baseline": {"kind": "given", "p0": 0.10}}
    path = folder / "spc.yaml"
    path.write_text(yaml.safe_dump({**spec, "interval": f"{INTERVAL_S}s"}), encoding="utf-8")
    done = backspan("rules", "generate", "--spec", str(path), "--out", str(folder / "rules"), folder=folder)
    assert done.returncode == 0, done.stderr
    return folder / "rules"


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The programs that `backspan stack build` made."""
    monkeypatch.setenv("BACKSPAN_STACK_DIR", STACK_DIR)


@contextmanager
def running(folder: Path, *options: str, **more: str) -> Generator[House]:
    """The whole back end in ``folder``, for the block; started with ``options``, and ``more`` in the environment."""
    home = folder / "home"
    with Pager() as pager, held.ports() as ports:
        done = backspan(
            "stack", "up", "--detach", "--json", held.option(ports), f"--dir={home}", f"--rules={_rules(folder)}",
            f"--pager={pager.url}", "--group-wait=1", f"--timeout={START_S}", *options, folder=folder, **more,
        )
        assert done.returncode == 0, done.stderr
        told: dict[str, Any] = json.loads(done.stdout)
        stack = load(home)
        assert stack is not None and Ports(**told["ports"]) == ports
        try:
            yield House(stack, Backend(ports), pager, folder)
        finally:
            ended = backspan("stack", "down", f"--dir={home}", folder=folder)
            assert ended.returncode == 0, ended.stderr
            assert not [name for name, one in stack.running.items() if one.alive]


@pytest.fixture(scope="session")
def house(tmp_path_factory: pytest.TempPathFactory) -> Generator[House]:
    """The whole back end, running."""
    with running(tmp_path_factory.mktemp("stack")) as house:
        yield house


@pytest.fixture(scope="session")
def model() -> Generator[OpenAIServer]:
    """One model for all tests: it numbers its answers, and the stack keeps them all."""
    with OpenAIServer() as server:
        yield server


@dataclass(frozen=True)
class Alarm:
    """A service whose users voted down until the pager went off."""

    service: str
    page: dict[str, Any]


@pytest.fixture(scope="session")
def alarm(house: House, model: OpenAIServer) -> Alarm:
    """One regression, from answers to the page."""
    vote_down(house, "shop", house.ask(model, OTEL_SERVICE_NAME="shop"))
    pages = until(lambda: house.pager.of("shop") or None, "page about shop")
    return Alarm("shop", pages[0])


def vote_down(house: House, service: str, response_id: str, times: int = 20) -> None:
    """As many people as it takes dislike one answer; returns when Prometheus says that it is an alarm."""
    turn = house.backend.find_turn(response_id)
    assert turn["service"] == service
    for rater in range(times):
        assert house.backend.vote(turn, "down", f"rater {rater}") == "add"
    # By name: where an hour ends just now, the drawn chart's own alert about these votes fires beside it.
    firing = f'ALERTS{{alertname="{series.ALERT}",alertstate="firing",service_name="{service}",partition="prompt"}}'
    house.backend.find_value(firing, 1)
