"""One rater who changes their mind a thousand times, through the gateway and the shipped rules: one event.

The gateway takes a hundred versions of one vote and refuses the rest; of those that it takes the pager sees the first.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from tests.live.charts import INTERVAL_S, broken, rule_files
from tests.server.conftest import KEY, Server, token
from tests.support.processes import environment
from tests.support.prometheus import NEW, OLD, Prometheus, scrape, until

from backspan import config, semconv
from backspan.rules import series
from backspan.rules.spec import load
from backspan.store.votes import MOST_REVISIONS

pytestmark = pytest.mark.live

FLIPS = 1000
CHANGED = "changed"
"""A second chart, which counts changed votes too."""
NOWHERE = "http://127.0.0.1:9"
BY_OP = {"add": 1, "change": MOST_REVISIONS - 1, "retract": MOST_REVISIONS - 1}
"""A change is told as two: the old value taken away, the new one given."""
THUMBS = f'{semconv.PROM_FEEDBACK}{{name="user_thumbs",service_name="chat"}}'


def rules() -> dict[str, Any]:
    """The shipped chart, evaluated every second, and its twin."""
    of = replace(load(), interval=INTERVAL_S)
    chart = next(chart for chart in of.charts if chart.name == "thumbs_down")
    twin = replace(chart, name=CHANGED)
    return {
        **rule_files(of, {chart.name: chart}),
        CHANGED: broken(of, twin, series.raw(CHANGED, "seen"), ',op="add"', ""),
    }


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Generator[dict[str, Prometheus]]:
    """Both versions, each with a gateway of its own, after the last flip has been seen."""
    with pytest.MonkeyPatch.context() as patch, ExitStack() as stack:
        patch.setenv("BACKSPAN_TOKEN_KEYS", KEY)
        config.reload()
        stack.callback(config.reload)
        gateways, servers = {}, {}
        for version in (OLD, NEW):
            folder = tmp_path_factory.mktemp("flips")
            env = {"BACKSPAN_DATA_DIR": str(folder), "BACKSPAN_TOKEN_KEYS": KEY, "OTEL_EXPORTER_OTLP_ENDPOINT": NOWHERE}
            gateway = gateways[version] = Server("gateway", [], environment(**env)).start()
            stack.callback(gateway.stop)
            scrapes = [scrape(urlsplit(gateway.url).port or 0, honor_labels=True)]
            servers[version] = Prometheus(version, folder / "prometheus", rules(), scrapes)
            stack.callback(servers[version].stop)
            servers[version].start().wait_scraped(1)
        judged = token(1)
        for flip in range(FLIPS):
            for gateway in gateways.values():
                status, _ = gateway.vote({"thumbs": "up" if flip % 2 else "down", "token": judged})
                assert status == expected(flip)
        for server in servers.values():
            until(lambda server=server: server.total(f"sum({THUMBS})") == sum(BY_OP.values()), "the flips")
            last = server.evaluated_until()
            until(lambda server=server, last=last: server.evaluated_until() > last + 2 * INTERVAL_S, "an evaluation")
        yield servers


def expected(flip: int) -> int:
    """Status of one of the posts; the last that is taken is a thumb up, as is every second one after it."""
    if flip < MOST_REVISIONS:
        return 200 if flip else 201
    return 200 if flip % 2 else 429


def counted(server: Prometheus, chart: str) -> float:
    """Events of a chart in all."""
    return server.total(f'sum_over_time(spc:n{{chart="{chart}",partition="service",service_name="chat"}}[15m])')


@pytest.mark.parametrize("version", [OLD, NEW])
def test_a_thousand_flips_are_one_event(watched: dict[str, Prometheus], version: str) -> None:
    server = watched[version]
    by_op = server.values(f"sum by (op) ({THUMBS})")
    assert {dict(labels)["op"]: value for labels, value in by_op.items()} == BY_OP
    assert counted(server, "thumbs_down") == 1
    assert server.firing() == []


@pytest.mark.parametrize("version", [OLD, NEW])
def test_rules_that_count_changes_count_them_all(watched: dict[str, Prometheus], version: str) -> None:
    """The twin."""
    assert counted(watched[version], CHANGED) == sum(BY_OP.values())
