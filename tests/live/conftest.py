"""Two minutes in which the same things happen to applications in front of several Prometheus servers at once."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from time import monotonic, time
from typing import Any

import pytest
import yaml
from tests.live import script
from tests.live.apps import App, Exporter, PushingApp
from tests.live.charts import brief, broken, rule_files, spec
from tests.live.compare import Recorded
from tests.support.prometheus import CONCURRENT, NEW, OLD, OTLP, Prometheus, scrape, until

from backspan import semconv
from backspan._assets import asset
from backspan.rules import series
from backspan.rules.spec import Chart, Spec

EVALUATIONS = 120
SEED = 4
NAMES = ("thumbs_down", "b", "chart_three", "d4", "quality", "the_sixth")
"""Charts, and so rule groups: Prometheus derives from a group's name when in each interval it is evaluated."""
DISORDERED = "disordered"
"""A seventh, whose snapshot does not wait for the one before."""
ROLES = {"a": "chat", "b": "chat", "c": "search", "wild": "wild", "worst": "worst", "noise": "chat"}
"""Instances, and their services."""
SERVERS = {
    "2.42": (OLD, ()),
    "3.14": (NEW, ()),
    "3.14 concurrent": (NEW, (CONCURRENT,)),
    "3.14 OTLP": (NEW, (OTLP, CONCURRENT)),
}
PUSHED = "/api/v1/otlp/v1/metrics"
_PATIENCE_S, _ASK_S = 6 * EVALUATIONS, 2.0


@dataclass
class Field:
    """What the two minutes left behind: the servers, still running, and what the applications counted."""

    spec: Spec
    charts: dict[str, Chart]
    servers: dict[str, Prometheus]
    cast: dict[str, Sequence[App]]
    """By role: the same app, once scraped and once for each server that is pushed to."""
    until: float
    """Unix time of the end."""
    _read: dict[tuple[str, str], Recorded] = field(default_factory=dict)

    def recorded(self, server: str, chart: str) -> Recorded:
        """The history of one chart in one server."""
        key = (server, chart)
        if key not in self._read:
            self._read[key] = Recorded(self.servers[server], self.spec, self.charts[chart], self.until)
        return self._read[key]

    def truth(self, service: str, **labels: str) -> int:
        """First thumbs that the applications of a service counted."""
        apps = [apps[0] for apps in self.cast.values() if apps[0].service == service]
        return sum(app.truth(name="user_thumbs", op="add", **labels) for app in apps)


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Generator[Field]:
    """The two minutes, once for all tests."""
    of = spec()
    charts = {name: brief(of, name) for name in (*NAMES, DISORDERED)}
    folder = tmp_path_factory.mktemp("field")
    with ExitStack() as stack:
        exporter = stack.enter_context(Exporter())
        servers = _servers(stack, of, charts, exporter, folder)
        with ThreadPoolExecutor() as pool:
            list(pool.map(Prometheus.start, servers.values()))
        for name, server in servers.items():
            server.wait_scraped(0 if OTLP in SERVERS[name][1] else len(ROLES))
        cast = {role: _actors(stack, exporter, servers, role) for role in ROLES}
        watch = _Watch([*servers.values()])
        script.run(_plays(cast, watch), _enough(servers))
        over = time()
        for instance in ROLES:
            until(partial(watch.stored, instance, over), f"the last samples of {instance}")
        over = time() + 1
        until(partial(watch.evaluated, over), "the last evaluations")
        yield Field(of, charts, servers, cast, over)


def _servers(
    stack: ExitStack, of: Spec, charts: dict[str, Chart], exporter: Exporter, folder: Path
) -> dict[str, Prometheus]:
    rules = rule_files(of, {name: charts[name] for name in NAMES})
    seen, before = (series.raw(DISORDERED, kind) for kind in ("seen", "prev"))
    rules[DISORDERED] = broken(of, charts[DISORDERED], seen, f" or {before} < 0", "")
    scrapes, found = [scrape(exporter.port, *ROLES)], {}
    for name, (version, options) in SERVERS.items():
        pushed = OTLP in options
        found[name] = Prometheus(
            version, folder / name.replace(" ", "-"), rules, [] if pushed else scrapes, options=options,
            config=shipped("otlp", "storage") if pushed else None,
        )
        stack.callback(found[name].stop)
    return found


def shipped(*keys: str) -> dict[str, Any]:
    """Parts of the configuration that we ship, without what needs a flag more."""
    document = yaml.safe_load((asset("collector") / "prometheus.yml").read_text(encoding="utf-8"))
    document["storage"].pop("exemplars", None)
    return {key: document[key] for key in keys}


def _actors(stack: ExitStack, exporter: Exporter, servers: dict[str, Prometheus], role: str) -> list[App]:
    pushing = [PushingApp(role, ROLES[role], servers[name].url + PUSHED)
               for name, (_, options) in SERVERS.items() if OTLP in options]
    for app in pushing:
        stack.callback(app.end)
    return [exporter.app(role, ROLES[role]), *pushing]


def _plays(cast: dict[str, Sequence[App]], watch: script.Watch) -> list[script.Play]:
    return [
        script.careful(Random(SEED), cast["a"], ("1", "2"), watch),
        script.careful(Random(SEED + 1), cast["b"], ("2", ""), watch),
        script.careful(Random(SEED + 2), cast["c"], ("1", ""), watch),
        script.wild(Random(SEED + 3), cast["wild"]),
        script.worst(cast["worst"]),
        script.noise(cast["noise"]),
    ]


@dataclass(frozen=True)
class _Watch:
    """See `script.Watch`."""

    servers: Sequence[Prometheus]

    def stored(self, instance: str, since: float) -> bool:
        # The newest: an instance's series come together, and one that ended with a reset has none for who is pushed to.
        newest = f'max(timestamp({semconv.PROM_FEEDBACK}{{instance="{instance}"}}))'
        return all(server.total(newest) > since for server in self.servers)

    def evaluated(self, since: float) -> bool:
        return all(server.evaluated_until() > since for server in self.servers)


def _enough(servers: dict[str, Prometheus]) -> Any:
    """A question for `script.run`: whether every group has been evaluated often enough, asked now and then."""
    before = {name: server.evaluations() for name, server in servers.items()}
    began = asked = monotonic()

    def enough() -> bool:
        nonlocal asked
        now = monotonic()
        assert now - began < _PATIENCE_S, "Prometheus misses most of its evaluations"
        if now - began < EVALUATIONS or now - asked < _ASK_S:
            return False
        asked = now
        done = [server.evaluations()[group] - before[name].get(group, 0)
                for name, server in servers.items() for group in before[name]]
        return min(done) > EVALUATIONS

    return enough
