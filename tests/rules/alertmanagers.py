"""A live Alertmanager that runs the shipped file, rendered as `backspan stack up` renders it."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml
from tests.stack.backend import get
from tests.support import held

from backspan._assets import asset
from backspan.cli._stack import process
from backspan.cli._stack.build import bin_dir
from backspan.cli._stack.plan import Plan, programs
from backspan.cli._stack.render import render

BINARIES = bin_dir()
"""Read before the tests' clean environment hides where the developer's programs are."""


@contextmanager
def alertmanager(
    folder: Path, pager: str, change: Callable[[dict[str, Any]], None] = lambda document: None
) -> Generator[int]:
    """Its port. ``change`` edits the rendered document before it is read; groups wait a second."""
    with held.ports() as ports:
        yield from _running(Plan(folder, ports, asset("collector/rules"), pager=pager, group_wait=1), change)


def _running(plan: Plan, change: Callable[[dict[str, Any]], None]) -> Generator[int]:
    render(plan)
    path = plan.config / "alertmanager.yml"
    document = yaml.safe_load(path.read_text(encoding="utf-8"))
    change(document)
    path.write_text(yaml.safe_dump(document, sort_keys=False), encoding="utf-8")
    (program,) = (one for one in programs(plan) if one.name == "alertmanager")
    running = process.start(program, plan.folder)
    try:
        process.wait_ready(program, running, plan.folder, 60)
        yield plan.ports.alertmanager
    finally:
        assert process.stop([running], 60) == []


def raised(port: int, alerts: Sequence[Mapping[str, Any]]) -> None:
    """Post alerts (labels, annotations) as Prometheus does; the answer has no body."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/api/v2/alerts", json.dumps(alerts).encode(), {"Content-Type": "application/json"})
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=60) as response:
        assert response.status == 200


def silent(port: int) -> dict[str, bool]:
    """Whether Alertmanager keeps an alert to itself, by its label ``id``."""
    found = get(port, "/api/v2/alerts")
    return {one["labels"]["id"]: one["status"]["state"] == "suppressed" for one in found}


def amtool(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run Alertmanager's own checker."""
    command = [str(BINARIES / "amtool"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
