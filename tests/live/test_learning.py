"""From learning to frozen in a live Prometheus, killed on the way; then a bad version pages, and nothing else."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
from tests.live.apps import Exporter, ScrapedApp, vote
from tests.live.charts import INTERVAL_S, broken, rule_files, spec
from tests.live.compare import Recorded
from tests.support.prometheus import CONCURRENT, NEW, OLD, Labels, Prometheus, scrape, until

from backspan.rules import series
from backspan.rules.learning import rules as learning_rules
from backspan.rules.spec import Chart, Spec
from backspan.spc import phases
from backspan.spc.baseline import Learner

pytestmark = pytest.mark.live

SEED, WINDOW_S = 8, 5
RATINGS, WINDOWS = 200, 5
USUAL, BAD = 0.2, 0.8
OUTAGE_S = 6.0
"""Longer than a window, so that at least one end of a window is missed."""
SERVERS = {"2.42": (OLD, ()), "3.14": (NEW, (CONCURRENT,))}
FORGETFUL = "forgetful"
"""A second chart, whose sums are lost in an outage of more than a window."""
CHAT = (("partition", "service"), ("service_name", "chat"))


class Traffic(threading.Thread):
    """Ten votes a second on each version of each app; ``shares`` are those of the bad ones, and may be changed.

    Which votes of a version are bad follows from the seed, however long the servers take: a false alarm is no chance of
    one run. (With this seed all evidence against what is usual stays below e^5, and an alarm needs e^12.)
    """

    def __init__(self, shares: dict[tuple[ScrapedApp, str], float]) -> None:
        super().__init__(daemon=True)
        self.shares, self._over = shares, threading.Event()
        self._random: dict[str, Random] = {}

    def run(self) -> None:
        """Count until `stop`."""
        while not self._over.wait(0.1):
            for (app, version), share in [*self.shares.items()]:
                bad = self._chance(f"{app.instance} {version}") < share
                app.count(vote("negative" if bad else "positive", version))

    def _chance(self, who: str) -> float:
        if who not in self._random:
            self._random[who] = Random(f"{SEED} {who}")
        return self._random[who].random()

    def stop(self) -> None:
        self._over.set()
        self.join()


@dataclass(frozen=True)
class Story:
    """What one server recorded, and which alerts fired at its end."""

    charts: dict[str, Recorded]
    killed: float
    firing: list[dict[str, str]]

    def values(self, name: str, labels: Labels, chart: str = "thumbs_down", **more: str) -> dict[float, float]:
        """Samples of one series."""
        wanted = {*labels, ("chart", chart), *more.items()}
        (found,) = (v for (n, key), v in self.charts[chart].series.items() if n == name and {*key} == wanted)
        return found


def charts() -> tuple[Spec, dict[str, Chart]]:
    """A chart that learns quickly and cries wolf once in a million votes."""
    baseline = {"kind": "learnt", "ratings": RATINGS, "windows": WINDOWS}
    of = spec(baseline=baseline, window=f"{WINDOW_S}s", false_alarm_every=1_000_000)
    return of, {"thumbs_down": of.charts[0], FORGETFUL: replace(of.charts[0], name=FORGETFUL)}


def forgetful(of: Spec, chart: Chart) -> dict[str, object]:
    """Its sums reach back over one window and no further."""
    learnt = dict(learning_rules(of, chart))[series.LEARN]
    memory = learnt.partition("last_over_time(spc:learn")[2].partition("[")[2].partition("]")[0]
    return broken(of, chart, series.LEARN, f"[{memory}]", f"[{WINDOW_S + 2}s]")


def play(name: str, folder: Path) -> Story:
    """The whole story on one server."""
    version, options = SERVERS[name]
    of, both = charts()
    rules = {**rule_files(of, {"thumbs_down": both["thumbs_down"]}), FORGETFUL: forgetful(of, both[FORGETFUL])}
    with ExitStack() as stack:
        exporter = stack.enter_context(Exporter())
        chat, calm = exporter.app("a", "chat"), exporter.app("b", "calm")
        server = Prometheus(version, folder / name, rules, [scrape(exporter.port, "a", "b")], options=options)
        stack.callback(server.stop)
        server.start().wait_scraped(2)
        traffic = Traffic({(chat, "1"): USUAL, (calm, "1"): USUAL})
        for app in (chat, calm):
            appear(server, app, "1")
        traffic.start()
        stack.callback(traffic.stop)
        killed = learn(server)
        appear(server, chat, "2")
        traffic.shares[chat, "2"] = USUAL
        until(lambda: server.total(phase("inherited", "prompt", gen_ai_prompt_version="2")) == 1, "inherited")
        settle(server, 4)
        traffic.shares[chat, "2"] = BAD
        until(lambda: "2" in {alert.get("gen_ai_prompt_version") for alert in pages(server.firing())}, "a page")
        settle(server, 3)
        firing, at = server.firing(), time.time()
        settle(server, 2)
        return Story({key: Recorded(server, of, chart, at) for key, chart in both.items()}, killed, firing)


def learn(server: Prometheus) -> float:
    """Until both services are frozen, with a kill after two windows of learning; the Unix time of it."""
    until(lambda: server.total(learnt("windows")) >= 2, "two windows")
    between(server, "_thumbs_down")  # one that is cut short is nobody's to compare
    killed = time.time()
    server.kill()
    time.sleep(OUTAGE_S)
    server.start()
    until(lambda: server.total(phase("frozen", "service")) == 2, "frozen", 120)
    return killed


def appear(server: Prometheus, app: ScrapedApp, version: str) -> None:
    """The series of a version at 0, until Prometheus has seen them."""
    for polarity in ("positive", "negative"):
        app.count(vote(polarity, version), 0)
    settle(server, 3)


def settle(server: Prometheus, evaluations: int, group: str = "") -> None:
    """Wait until that many evaluations more have ended; the last one just now."""
    for _ in range(evaluations):
        before = server.evaluated_until(group)
        until(lambda before=before: server.evaluated_until(group) > before, "an evaluation")


def between(server: Prometheus, group: str) -> None:
    """Wait for a moment at which an evaluation has ended, and the next one is not due for half an interval."""

    def early() -> bool:
        settle(server, 1, group)
        return time.time() - server.evaluated_until(group) < INTERVAL_S / 2

    until(early, "a moment between two evaluations", 120)


def pages(firing: list[dict[str, str]]) -> list[dict[str, str]]:
    """Those of the chart that are no tickets, which come sooner, nor of the other chart."""
    return [one for one in firing if one["alertname"] == series.ALERT and one["chart"] == "thumbs_down"]


def phase(name: str, partition: str, **labels: str) -> str:
    """PromQL: how many cohorts of a partition are in a phase."""
    said = "".join(f',{key}="{value}"' for key, value in labels.items())
    return f'sum(spc:phase{{chart="thumbs_down",phase="{name}",partition="{partition}"{said}}})'


def learnt(stat: str) -> str:
    """PromQL: a sum of the learner of the chat."""
    return f'spc:learn{{chart="thumbs_down",partition="service",service_name="chat",stat="{stat}"}}'


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Story]:
    """Both servers at once."""
    folder = tmp_path_factory.mktemp("learning")
    with ThreadPoolExecutor(len(SERVERS)) as pool:
        return dict(zip(SERVERS, pool.map(lambda name: play(name, folder), SERVERS), strict=True))


SERVER = pytest.mark.parametrize("server", SERVERS)


def sums(story: Story, chart: str) -> list[float]:
    """How many windows the learner of the chat knew of, one window after the other."""
    return [value for _, value in sorted(story.values(series.LEARN, CHAT, chart, stat="windows").items())]


def closed(recorded: Recorded, story: Story, labels: Labels, until_at: float) -> Sequence[tuple[float, float]]:
    """(n, bad) of the windows that ended at an evaluation, from what was counted in them."""
    n, bad = story.values(series.N, labels), story.values(series.BAD, labels)
    ends = [at for at in recorded.times if at % WINDOW_S < 1 and at <= until_at]
    windows = [[sum(v for t, v in of.items() if end - WINDOW_S + 0.5 < t <= end) for of in (n, bad)] for end in ends]
    return [(n, bad) for n, bad in windows if n]


@SERVER
def test_the_frozen_baseline_is_the_learners(stories: dict[str, Story], server: str) -> None:
    story = stories[server]
    recorded = story.charts["thumbs_down"]
    for service in ("chat", "calm"):
        labels = (("partition", "service"), ("service_name", service))
        p0, phi = (story.values(series.FROZEN, labels, stat=name) for name in ("p0", "phi"))
        windows = closed(recorded, story, labels, min(p0))
        fit = Learner.of(windows).fit(recorded.chart.model)
        print(f"{server} {service}: {len(windows)} windows, {fit.n:.0f} votes, p0 {fit.p0:.4f}, phi {fit.phi:.3f}")
        assert len(windows) >= WINDOWS and fit.n >= RATINGS
        assert [*p0.values()] == pytest.approx([fit.p0] * len(p0), abs=1e-9)
        assert [*phi.values()] == pytest.approx([fit.phi] * len(phi), abs=1e-9)


@SERVER
def test_learning_goes_on_after_a_kill(stories: dict[str, Story], server: str) -> None:
    story, learning = stories[server], story_phase(stories[server], "learning")
    assert min(learning) < story.killed < max(learning), "it was not killed while learning"
    assert sums(story, "thumbs_down") == [*range(1, len(sums(story, "thumbs_down")) + 1)]
    assert max(learning) < min(story_phase(story, "frozen"))


def story_phase(story: Story, name: str) -> dict[float, float]:
    """The evaluations in which the chat was in a phase."""
    return story.values(series.PHASE_SERIES, CHAT, phase=name)


@SERVER
def test_everything_is_the_oracles(stories: dict[str, Story], server: str) -> None:
    recorded = stories[server].charts["thumbs_down"]
    print(f"{server}: {len(recorded.times)} evaluations, {recorded.missed} missed, mostly by the outage")
    assert recorded.differences()[:10] == []


@SERVER
def test_only_the_bad_version_pages(stories: dict[str, Story], server: str) -> None:
    """And the service that it is part of; nobody was paged while that service learnt."""
    story = stories[server]
    paged = pages(story.firing)
    found = {(alert["partition"], alert["service_name"], alert.get("gen_ai_prompt_version")) for alert in paged}
    assert ("prompt", "chat", "2") in found
    assert found <= {("prompt", "chat", "2"), ("service", "chat", None)}
    assert min(story.charts["thumbs_down"].alarms()) > max(story_phase(story, phases.LEARNING))


@SERVER
def test_sums_with_a_short_memory_are_lost_by_the_kill(stories: dict[str, Story], server: str) -> None:
    """The twin."""
    story = stories[server]
    known = sums(story, FORGETFUL)
    assert known != [*range(1, len(known) + 1)]
    assert story.charts[FORGETFUL].differences() != []
