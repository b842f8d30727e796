"""Counters over OTLP whose samples come late, twice, or in the wrong order: each event counts once.

The requests are made by hand, with times of their own, as a Collector's queue delivers them after an outage.
"""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from collections.abc import Callable, Generator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from tests.live.apps import vote
from tests.live.charts import INTERVAL_S, broken, rule_files, spec
from tests.live.conftest import PUSHED, shipped
from tests.support.prometheus import CONCURRENT, NEW, OTLP, Prometheus, until

from backspan import semconv
from backspan.rules import series

pytestmark = pytest.mark.live

STEP_S = 0.5
FAR = "far"
"""A second chart, which looks ten minutes back for what was before a reset."""
CUMULATIVE = 2
_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))


@dataclass
class Sender:
    """One series of one application: what it was at which time, and how much of it has been sent."""

    server: Prometheus
    version: str
    samples: list[tuple[float, int]] = field(default_factory=list)
    truth: int = 0

    def count(self, events: int) -> None:
        """Time goes on; so many events more."""
        self.truth += events
        self.samples.append((time.time(), (self.samples[-1][1] if self.samples else 0) + events))

    def restart(self) -> None:
        """The counter begins again."""
        self.samples.append((time.time(), 0))

    def send(self, *which: int) -> None:
        """Push the samples with these places, in this order."""
        for place in which:
            at, value = self.samples[place]
            request = urllib.request.Request(
                self.server.url + PUSHED, body(self.version, at, value).SerializeToString(),
                {"Content-Type": "application/x-protobuf"},
            )
            with _LOCAL.open(request, timeout=60):
                pass


def body(version: str, at: float, value: int) -> ExportMetricsServiceRequest:
    """A request with one sample."""
    request = ExportMetricsServiceRequest()
    resource = request.resource_metrics.add()
    for key, text in (("service.name", "chat"), ("service.instance.id", "late")):
        resource.resource.attributes.add(key=key).value.string_value = text
    metric = resource.scope_metrics.add().metrics.add(name=semconv.FEEDBACK)
    metric.sum.aggregation_temporality, metric.sum.is_monotonic = CUMULATIVE, True
    point = metric.sum.data_points.add(time_unix_nano=int(at * 1e9), as_int=value)
    for key, text in vote("negative", version).items():
        point.attributes.add(key=key).value.string_value = text
    return request


# --- what happens; each yields once a step --------------------------------------------------------------------------
Steps = Generator[None, None, None]


def on_time(sender: Sender) -> Steps:
    for _ in range(40):
        sender.count(1)
        sender.send(-1)
        yield


def three_seconds_late(sender: Sender) -> Steps:
    for i in range(40):
        sender.count(1)
        sender.send(*([i - 6] if i >= 6 else []))
        yield
    sender.send(*range(34, 40))


def swapped(sender: Sender) -> Steps:
    """Of every four samples the first is sent last."""
    for i in range(40):
        sender.count(1)
        if i % 4:
            sender.send(i)
        if i % 4 == 3:
            sender.send(i - 3)
        yield


def repeated(sender: Sender) -> Steps:
    for i in range(40):
        sender.count(1)
        sender.send(i, i, max(0, i - 5))
        yield


def queued(sender: Sender) -> Steps:
    """Nothing for eight seconds, then everything, the newest first."""
    for i in range(40):
        sender.count(1)
        if i < 10 or i >= 26:
            sender.send(i)
        if i == 26:
            sender.send(*range(25, 9, -1))
        yield


def restarted(sender: Sender) -> Steps:
    """Two restarts, and after each of them late samples from before."""
    for life in (14, 8, 4):
        first = len(sender.samples)
        for _ in range(life):
            sender.count(3)
            if life == 4 or len(sender.samples) - first not in (3, 4):
                sender.send(-1)
            yield
        yield from seen(sender, 6)
        if life > 4:
            sender.restart()
            sender.send(-1)
            yield from seen(sender, 4)
            sender.send(first + 3, first + 2)
            yield from seen(sender, 4)


def seen(sender: Sender, steps: int) -> Steps:
    """Rest for so many steps, and on until every rule has seen what there is: on a busy machine that takes longer."""
    now, deadline = time.time(), time.monotonic() + 120
    for _ in range(steps):
        yield
    while sender.server.evaluated_until() <= now + INTERVAL_S:
        assert time.monotonic() < deadline, "no evaluations"
        yield


STORIES: dict[str, Callable[[Sender], Steps]] = {
    "on time": on_time, "three seconds late": three_seconds_late, "swapped": swapped, "repeated": repeated,
    "queued": queued, "restarted": restarted,
}


@dataclass(frozen=True)
class Told:
    """The server after all stories, and what each sent."""

    server: Prometheus
    senders: dict[str, Sender]

    def counted(self, story: str, chart: str) -> float:
        """Events of a story, by a chart's rules."""
        return self.server.total(f'sum_over_time(spc:n{{chart="{chart}",gen_ai_prompt_version="{story}"}}[15m])')


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Generator[Told]:
    """All stories at once, in one server with the configuration that we ship."""
    of = spec()
    far = replace(of.charts[0], name=FAR)
    rules: dict[str, Any] = {
        **rule_files(of, {"thumbs_down": of.charts[0]}),
        FAR: broken(of, far, series.raw(FAR, "inc"), f"[{INTERVAL_S}s]", "[10m]"),
    }
    folder = tmp_path_factory.mktemp("late")
    server = Prometheus(NEW, folder, rules, options=(OTLP, CONCURRENT), config=shipped("otlp", "storage")).start()
    try:
        senders = {name: Sender(server, name) for name in STORIES}
        for sender in senders.values():
            sender.count(0)
            sender.send(-1)
        settle(server)
        running = [STORIES[name](first_at_zero(sender)) for name, sender in senders.items()]
        while running:
            running = [steps for steps in running if next(steps, running) is None]
            time.sleep(STEP_S)
        settle(server)
        yield Told(server, senders)
    finally:
        server.stop()


def first_at_zero(sender: Sender) -> Sender:
    """The sender as its story begins: the sample at 0 is not one of it."""
    sender.samples.clear()
    return sender


def settle(server: Prometheus) -> None:
    """Until every rule has seen what there is."""
    now = time.time()
    until(lambda: server.evaluated_until() > now + 2 * INTERVAL_S, "an evaluation")


@pytest.mark.parametrize("story", STORIES)
def test_each_event_counts_once(told: Told, story: str) -> None:
    assert told.counted(story, "thumbs_down") == told.senders[story].truth


@pytest.mark.parametrize("story", STORIES)
def test_every_sample_was_stored(told: Told, story: str) -> None:
    """Else the test above says nothing about them."""
    (stored,) = told.server.history(f'{semconv.PROM_FEEDBACK}{{gen_ai_prompt_version="{story}"}}').values()
    assert len(stored) == len(told.senders[story].samples) + 1


# --- the twins ------------------------------------------------------------------------------------------------------
def test_looking_far_back_for_what_was_before_a_reset_counts_it_again(told: Told) -> None:
    assert told.counted("restarted", FAR) > told.senders["restarted"].truth
    assert told.counted("on time", FAR) == told.senders["on time"].truth


def test_without_a_window_late_samples_are_refused(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("strict")
    server = Prometheus(NEW, folder, {}, options=(OTLP,), config=shipped("otlp")).start()
    try:
        now = time.time()
        sender = Sender(server, "swapped", [(now - 1, 1), (now, 2)])
        sender.send(1)
        with pytest.raises(urllib.error.HTTPError, match="400"):
            sender.send(0)
    finally:
        server.stop()
