"""Three gateways on one PostgreSQL database, scraped by a real Prometheus: one vote is one, whoever shows it."""

from __future__ import annotations

from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from tests.server.conftest import KEY, Server, token
from tests.support.held import hold
from tests.support.postgres import running
from tests.support.processes import environment
from tests.support.prometheus import NEW, Prometheus, until

from backspan import config

pytestmark = pytest.mark.stack
SUM = 'sum(backspan_feedback_total{name="user_thumbs",op="add",polarity="negative"})'


class Greedy(Server):
    """The twin: gateways of which each believes that it is the one."""

    before = "from backspan.store import leases; leases.Duty.take = lambda *_: True"


@contextmanager
def house(tmp_path, kind):
    """Three replicas and the Prometheus that scrapes each under a label of its own."""
    env = environment(BACKSPAN_DATA_DIR=str(tmp_path), BACKSPAN_TOKEN_KEYS=KEY,
                      OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    with running() as postgres:
        url = postgres.database().replace("+psycopg", "")
        replicas = [kind("gateway", ["--db", url], env) for _ in range(3)]
        prometheus = None
        try:
            for replica in replicas:
                replica.start()
            prometheus = Prometheus(NEW, tmp_path / "prometheus", {}, [{
                "job_name": "gateway", "honor_labels": True, "scrape_interval": "1s", "scrape_timeout": "1s",
                "static_configs": [{"targets": [urlsplit(replica.url).netloc], "labels": {"pod": f"p{number}"}}
                                   for number, replica in enumerate(replicas)]}])
            with hold(prometheus.port):
                prometheus.start()
            yield replicas, prometheus
        finally:
            if prometheus is not None:
                prometheus.stop()
            for replica in replicas:
                replica.stop()


@pytest.fixture(autouse=True)
def _keys(monkeypatch):
    monkeypatch.setenv("BACKSPAN_TOKEN_KEYS", KEY)
    config.reload()
    yield
    config.reload()


def _shown_by(prometheus):
    return [dict(labels)["pod"] for labels in prometheus.values("count by (pod) (backspan_feedback_total)")]


def test_one_vote_is_one_before_and_after_the_one_that_shows_it_is_killed(tmp_path):
    with house(tmp_path, Server) as (replicas, prometheus):
        assert replicas[1].vote({"thumbs": False, "token": token(1)})[0] == 201
        until(lambda: prometheus.total(SUM) == 1, "the vote in Prometheus")
        [pod] = _shown_by(prometheus)
        killed = replicas[int(pod[1:])]
        killed.kill()
        with hold(urlsplit(killed.url).port):
            until(lambda: _shown_by(prometheus) not in ([], [pod]), "another one shows it")
            assert prometheus.total(SUM) == 1 and len(_shown_by(prometheus)) == 1
            other = int(_shown_by(prometheus)[0][1:])
            assert replicas[other].vote({"thumbs": False, "token": token(2)})[0] == 201
            killed.start()
        until(lambda: prometheus.total(SUM) == 2, "the second vote")
        assert max(value for values in prometheus.history("backspan_feedback_total").values()
                   for value in values.values()) == 2
        assert "backspan_feedback_total{" not in killed.metrics()
        assert "# EOF" in killed.metrics(openmetrics=True)


def test_replicas_that_all_show_it_are_noticed(tmp_path):
    with house(tmp_path, Greedy) as (replicas, prometheus):
        assert replicas[0].vote({"thumbs": False, "token": token(1)})[0] == 201
        until(lambda: prometheus.total(SUM) == 3, "the vote, thrice")
