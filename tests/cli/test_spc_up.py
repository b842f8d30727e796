"""`backspan spc` against a real `backspan up` that has lived through a bad release."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
from tests.server.charting import Clock, House, vote
from tests.server.conftest import Server
from tests.support.processes import environment

from backspan import cli, semconv
from backspan.rules.spec import load

HOUR, DAYS, PER_HOUR = 3600, 5, 30
SPEC = """
version: 1
charts:
  - name: thumbs_down
    indicator: thumbs_down
    cohorts:
      service: [service.name, deployment.environment.name]
      prompt: [service.name, deployment.environment.name, gen_ai.prompt.name, gen_ai.prompt.version]
    false_alarm_every: 20000
    baseline: {kind: learnt, ratings: 1500, windows: 20}
"""


@dataclass(frozen=True)
class Lived:
    """When a server's past began and the bad version went out, how much was rated, and where it runs, if it does."""

    folder: Path
    spec: Path
    began: float
    release: float
    rated: int
    url: str = ""


@pytest.fixture(scope="module")
def past(tmp_path_factory) -> Lived:
    """The database of a server that does not run."""
    folder = tmp_path_factory.mktemp("past")
    spec = folder / "spc.yaml"
    spec.write_text(SPEC)
    now = time.time() // HOUR * HOUR
    began, release = now - DAYS * 24 * HOUR, now - 10 * HOUR
    return Lived(folder, spec, began, release, _live(folder / "up.db", spec, began, release, now))


@contextmanager
def _running(past: Lived, folder: Path) -> Generator[Lived]:
    """A server with a copy of the past."""
    database = shutil.copy(past.folder / "up.db", folder / "up.db")
    env = environment(BACKSPAN_DATA_DIR=str(folder))
    server = Server("up", ["--db", str(database), "--spec", str(past.spec)], env).start()
    try:
        yield replace(past, url=server.url)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def lived(past, tmp_path_factory) -> Generator[Lived]:
    with _running(past, tmp_path_factory.mktemp("up")) as running:
        yield running


def _live(path: Path, spec: Path, began: float, release: float, now: float) -> int:
    random, clock, number = Random(4), Clock(began), 0
    house = House(path, load(spec), clock)
    while clock.now < now:
        version, share = ("v2", 0.3) if clock.now >= release else ("v1", 0.08)
        votes = [vote(number + i, random.random() < share, version, time=clock.now + i * HOUR / PER_HOUR)
                 for i in range(PER_HOUR)]
        number += PER_HOUR
        clock.now += HOUR
        house.store.put_votes(votes).result()
        house.tick()
    house.store.close()
    return number


@pytest.fixture
def base(lived) -> list[str]:
    return _asking(lived)


def _asking(lived: Lived) -> list[str]:
    return ["--up", lived.url, "--spec", str(lived.spec), "--chart", "thumbs_down", "--since", str(int(lived.began))]


def run(capsys, *arguments, code=0):
    assert cli.main(["spc", *arguments]) == code
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.out


def as_json(capsys, *arguments, code=0):
    return json.loads(run(capsys, *arguments, "--json", code=code))


def test_show_counts_every_vote_of_the_store(lived, base, capsys):
    found = as_json(capsys, "show", *base, "--cohort", "partition=service", code=1)
    assert sum(point["n"] for point in found["points"]) == lived.rated and len(found["points"]) == DAYS * 24
    assert "its own store" in found["source"] and len(found["alarms"]) == 1
    text = run(capsys, "show", *base, "--cohort", "partition=service", "--replay", code=1)
    assert "ALARM" in text and "phase alarm" in text


def test_backtest_finds_the_release_and_shifts(lived, base, capsys):
    [chart] = as_json(capsys, "backtest", *base, "--shift", "3", "--places", "4", code=1)["charts"]
    fired = {row["partition"]: row for row in chart["alarms"]}
    assert set(fired) == {"service", "prompt"} and fired["prompt"]["phase"] == "inherited"
    assert chart["step"] == 60 and chart["learning"] >= 1500
    from backspan.cli._spc.times import instant

    assert lived.release < instant(fired["service"]["fired"]) < lived.release + 6 * HOUR


def _get(lived: Lived, path: str):
    import urllib.request

    with urllib.request.urlopen(f"{lived.url}{path}", timeout=60) as response:
        return response.status, json.load(response)


def test_explain_ranks_the_version_first(lived, capsys):
    where = ["--up", lived.url, "--spec", str(lived.spec)]
    alerts = {row["cohort"]["partition"]: row for row in _get(lived, "/api/alerts")[1]["alerts"]}
    for partition in ("service", "prompt"):
        code = 1 if alerts[partition]["state"] == "firing" else 0
        found = as_json(capsys, "explain", str(alerts[partition]["id"]), *where, code=code)
        assert found["causes"][0]["name"] == "change of prompt version", partition
        assert found["traces"] and found["alert"]["partition"] == partition
        assert found["facts"]["rated"]["before"]["n"] > 100
    text = run(capsys, "explain", str(alerts["service"]["id"]), *where, code=code)
    assert "how many" in text and "TraceQL" in text and "1. change of prompt version" in text


def test_explain_lists_what_it_does_not_know(lived, capsys):
    assert cli.main(["spc", "explain", "999", "--up", lived.url, "--spec", str(lived.spec)]) == 2
    assert "no alert 999; there are:" in capsys.readouterr().err


def test_simulate_at_the_measured_volume(base, capsys):
    found = as_json(capsys, "simulate", *base, "--runs", "5", "--shifts", "3")
    assert found["per_hour"] == pytest.approx(PER_HOUR, rel=0.1) and "its own store" in found["source"]


def test_a_chart_that_it_does_not_have(lived, tmp_path, capsys):
    other = tmp_path / "other.yaml"
    other.write_text(SPEC.replace("thumbs_down\n    ind", "other\n    ind"))
    assert cli.main(["spc", "show", "--up", lived.url, "--spec", str(other)]) == 2
    assert "has no chart other; it has thumbs_down" in capsys.readouterr().err


def test_in_a_pipe_nothing_but_the_data_is_written(lived, base):
    """No progress bar, no colour; and the exit code says that the chart alarms."""
    command = [sys.executable, "-m", "backspan", "spc", "show", *base, "--cohort", "partition=service"]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1 and "\x1b" not in done.stdout and done.stderr == ""
    assert semconv.SERVICE_NAME in done.stdout


def test_fit_puts_baselines_that_then_hold(past, tmp_path, capsys):
    """On a server of its own: a new baseline ends the alarm, which the other tests look at."""
    with _running(past, tmp_path) as running:
        _fit(running, capsys)


def _fit(running: Lived, capsys) -> None:
    arguments = ["fit", *_asking(running), "--until", str(int(running.release)), "--cohort", "partition=service"]
    code = cli.main(["spc", *arguments, "--json"])
    [row] = json.loads(capsys.readouterr().out)["cohorts"]
    assert (code, row["verdict"]) in ((0, "fitted"), (1, "worse"))
    if row["verdict"] == "worse":
        [row] = as_json(capsys, *arguments, "--rebase", "--reason", "a longer history")["cohorts"]
        assert row["verdict"] == "rebased"
    again = as_json(capsys, *arguments)
    assert again["cohorts"][0]["before"]["p0"] == row["p0"] and again["written"] == running.url
    _, answered = _get(running, "/api/charts/thumbs_down/baselines")
    [held] = [one for one in answered["baselines"] if one["partition"] == "service"]
    assert held["p0"] == pytest.approx(row["p0"])
