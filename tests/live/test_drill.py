"""Restarts under load: Prometheus is killed, applications restart, and what was counted is held against the truth.

Nothing may be counted twice. What is lost is what no counter can tell: votes between an application's last scrape and
its end, and all votes before its end where it has counted further than before when it is scraped again. When everything
happens is drawn from a seed, which a failure shows.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from tests.live.apps import Exporter, ScrapedApp, vote
from tests.live.charts import INTERVAL_S, broken, rule_files, spec
from tests.support.prometheus import CONCURRENT, NEW, OLD, Prometheus, scrape, until

from backspan import semconv
from backspan.rules import series

pytestmark = pytest.mark.live

INSTANCES = "abcdefgh"
SECONDS, KILLS, RESTARTS = 90.0, 3, 4
TICK_S = 0.2
DRILLS = {"2.42": (OLD, (), 11), "3.14": (NEW, (), 12), "3.14 concurrent": (NEW, (CONCURRENT,), 13)}
"""Version, options and seed of each."""
LEAST = 0.95
WINDOWED, FORGETFUL = "windowed", "forgetful"
"""Two charts more: one counts with `increase()`, as most rules do; one has no snapshot from before an outage."""
SERIES = [vote(polarity, version) for polarity in ("positive", "negative") for version in ("1", "2")]


@dataclass(frozen=True)
class Drill:
    """What was left when it was over: what the applications counted, and what each chart did."""

    truth: int
    bad: int
    unseen: int
    counted: Mapping[str, float]
    counted_bad: float
    told: str

    def share(self, chart: str) -> float:
        """Counted events of the true ones."""
        return self.counted[chart] / self.truth


class Load(threading.Thread):
    """Instances that count about five votes a second each, and restart when their seed says so."""

    def __init__(self, apps: list[ScrapedApp], random: Random) -> None:
        super().__init__(daemon=True)
        self._apps, self._random, self._over = apps, random, threading.Event()
        moments = sorted(random.uniform(0.1, 0.9) * SECONDS for _ in range(RESTARTS))
        self.restarts = [(round(at, 1), random.randrange(len(apps)), round(random.random(), 1)) for at in moments]
        """Seconds, which instance, and seconds until it is back."""

    def run(self) -> None:
        """Count until `stop`."""
        began, due, back = time.monotonic(), list(self.restarts), dict.fromkeys(range(len(self._apps)), 0.0)
        while not self._over.wait(TICK_S):
            now = time.monotonic() - began
            if due and now >= due[0][0]:
                _, index, pause = due.pop(0)
                self._apps[index].end()
                back[index] = now + pause
            for index, app in enumerate(self._apps):
                if back[index] and now >= back[index]:
                    back[index] = 0.0
                    begin(app)
                if not back[index]:
                    app.count(self._random.choice(SERIES), self._random.randrange(3))

    def stop(self) -> None:
        """No more votes; who is down comes back."""
        self._over.set()
        self.join()


def begin(app: ScrapedApp) -> None:
    """Start, with every series at 0, as ours have from the first answer."""
    app.begin()
    for labels in SERIES:
        app.count(labels, 0)


def disturb(server: Prometheus, random: Random) -> list[tuple[float, float]]:
    """Kill the server at a random moment of each third of the drill; (second, seconds down) of each."""
    began, done = time.monotonic(), []
    for moment in ((third + random.uniform(0.2, 0.9)) * SECONDS / KILLS for third in range(KILLS)):
        time.sleep(max(0.0, began + moment - time.monotonic()))
        killed = time.monotonic()
        server.kill()
        time.sleep(random.uniform(1, 3))
        server.start()
        done.append((round(killed - began, 1), round(time.monotonic() - killed, 1)))
    time.sleep(max(0.0, began + SECONDS - time.monotonic()))
    return done


def rules() -> dict[str, Any]:
    """The generated rules, and the twins'."""
    of = spec(baseline={"kind": "given", "p0": 0.4})
    chart = of.charts[0]
    windowed, forgetful = replace(chart, name=WINDOWED), replace(chart, name=FORGETFUL)
    counter = f'{semconv.PROM_FEEDBACK}{{name="user_thumbs",op="add"}}'
    return {
        **rule_files(of, {chart.name: chart}),
        WINDOWED: broken(of, windowed, series.raw(WINDOWED, "inc"), None, f"increase({counter}[{INTERVAL_S}s])"),
        FORGETFUL: broken(of, forgetful, series.raw(FORGETFUL, "prev"), "[10m17s]", f"[{2 * INTERVAL_S}s]"),
    }


def drill(name: str, folder: Path) -> Drill:
    """One version, from the first vote to the last evaluation."""
    version, options, seed = DRILLS[name]
    with ExitStack() as stack:
        exporter = stack.enter_context(Exporter())
        apps = [exporter.app(instance, "chat") for instance in INSTANCES]
        scrapes = [scrape(exporter.port, *INSTANCES, interval="250ms")]
        server = Prometheus(version, folder / name.replace(" ", "-"), rules(), scrapes, options=options)
        stack.callback(server.stop)
        server.start().wait_scraped(len(apps))
        for app in apps:
            begin(app)
        until(lambda: server.total(f"count({semconv.PROM_FEEDBACK})") == len(apps) * len(SERIES), "all series at 0")
        seen(server)
        load = Load(apps, Random(seed))
        load.start()
        killed = disturb(server, Random(seed))
        load.stop()
        seen(server)
        told = f"{name}, seed {seed}: killed at, for: {killed}; apps restarted at, which, for: {load.restarts}"
        return judge(server, apps, told)


def seen(server: Prometheus) -> None:
    """Until every rule has seen what there is."""
    now = time.time()
    until(lambda: server.evaluated_until() > now + 2 * INTERVAL_S, "the evaluations of what there is")


def judge(server: Prometheus, apps: list[ScrapedApp], told: str) -> Drill:
    """What was counted, by chart, and what should have been."""
    counted = {chart: server.total(total("n", chart)) for chart in ("thumbs_down", WINDOWED, FORGETFUL)}
    truth, bad = (sum(app.truth(**labels) for app in apps) for labels in ({}, {"polarity": "negative"}))
    return Drill(truth, bad, sum(app.unseen for app in apps), counted, server.total(total("bad", "thumbs_down")), told)


def total(name: str, chart: str) -> str:
    """PromQL: everything that a chart counted."""
    return f'sum_over_time(spc:{name}{{chart="{chart}",partition="service"}}[15m])'


@pytest.fixture(scope="module")
def drills(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Drill]:
    """All versions at once."""
    folder = tmp_path_factory.mktemp("drill")
    with ThreadPoolExecutor(len(DRILLS)) as pool:
        return dict(zip(DRILLS, pool.map(lambda name: drill(name, folder), DRILLS), strict=True))


@pytest.mark.parametrize("name", DRILLS)
def test_nearly_all_are_counted_and_never_more(drills: dict[str, Drill], name: str) -> None:
    done = drills[name]
    counted = done.counted["thumbs_down"]
    print(f"{done.told}: {counted:.0f} of {done.truth} ({done.share('thumbs_down'):.3f}), {done.counted_bad:.0f} of"
          f" {done.bad} bad; {done.unseen} unseen")
    assert counted == int(counted)
    assert LEAST <= done.share("thumbs_down") <= 1, done.told
    assert LEAST * done.bad <= done.counted_bad <= done.bad, done.told


# --- the twins ------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("name", DRILLS)
def test_increase_loses_what_happens_while_prometheus_is_down(drills: dict[str, Drill], name: str) -> None:
    done = drills[name]
    print(f"{done.told}: increase() counted {done.share(WINDOWED):.3f}")
    assert done.share(WINDOWED) < LEAST, done.told


@pytest.mark.parametrize("name", DRILLS)
def test_without_a_snapshot_from_before_the_outage_events_count_twice(drills: dict[str, Drill], name: str) -> None:
    done = drills[name]
    print(f"{done.told}: counted {done.share(FORGETFUL):.3f}")
    assert done.share(FORGETFUL) > 1, done.told
