"""The generated rules in real servers against the oracle: every recorded series to 1e-9, every alarm at its evaluation.

Prometheus 2.42 and 3.14, ``concurrent-rule-eval`` on and off, scraped and pushed to over OTLP; six rule groups in each.
"""

from __future__ import annotations

import copy

import pytest
from tests.live.conftest import DISORDERED, EVALUATIONS, NAMES, SERVERS, Field

from backspan.rules import series

pytestmark = pytest.mark.live
SERVER = pytest.mark.parametrize("server", SERVERS)


@SERVER
@pytest.mark.parametrize("chart", NAMES)
def test_every_series_and_alarm_is_the_oracles(played: Field, server: str, chart: str) -> None:
    recorded = played.recorded(server, chart)
    alarms, times = recorded.alarms(), recorded.times
    print(f"{server} {chart}: {len(times)} evaluations, {recorded.missed} missed, {len(alarms)} with an alarm")
    assert recorded.differences()[:10] == []
    assert len(times) >= EVALUATIONS and 0 < len(alarms) < len(times)


@SERVER
@pytest.mark.parametrize("service", ["chat", "search"])
def test_six_groups_count_every_event_once(played: Field, server: str, service: str) -> None:
    """Their names, and so their moments, differ; what they count in all does not."""
    recorded = [played.recorded(server, chart) for chart in NAMES]
    assert len({round(one.times[0] % 1, 3) for one in recorded}) > 1, "all groups are evaluated at the same moment"
    cohort = {"partition": "service", "service_name": service}
    assert [one.total("spc:n", **cohort) for one in recorded] == [played.truth(service)] * len(NAMES)
    bad = played.truth(service, polarity="negative")
    assert [one.total("spc:bad", **cohort) for one in recorded] == [bad] * len(NAMES)


def test_the_old_one_is_a_prometheus_2(played: Field) -> None:
    """Ranges, look-back and restarts differ between 2 and 3. (The new one has options that 2 does not know.)"""
    assert played.servers["2.42"].get("status/buildinfo")["version"].startswith("2.")


# --- the twins ------------------------------------------------------------------------------------------------------
def _lost(played: Field, server: str) -> float:
    """The share of a service's events that the disordered chart never counted."""
    counted = played.recorded(server, DISORDERED).total("spc:n", partition="service", service_name="chat")
    print(f"{server}: {counted:.0f} of {played.truth('chat')} counted")
    return 1 - counted / played.truth("chat")


@pytest.mark.parametrize("server", ["2.42", "3.14"])
def test_a_snapshot_that_waits_for_nothing_is_right_while_rules_run_in_order(played: Field, server: str) -> None:
    """But for a sample that arrives between two rules of one evaluation, as it seldom does."""
    assert abs(_lost(played, server)) < 0.05


@pytest.mark.parametrize("server", ["3.14 concurrent", "3.14 OTLP"])
def test_it_loses_events_under_concurrent_rule_eval(played: Field, server: str) -> None:
    assert played.recorded(server, DISORDERED).differences() != [] and _lost(played, server) > 0.05


@SERVER
def test_one_vote_more_is_noticed(played: Field, server: str) -> None:
    recorded = copy.copy(played.recorded(server, NAMES[0]))
    streams = {labels: [*stream] for labels, stream in recorded.streams.items()}
    counted = next(labels for labels in streams if dict(labels).get("instance") == "worst")
    stream = streams[counted]
    stream[len(stream) // 2 :] = [(at, value and value + 1) for at, value in stream[len(stream) // 2 :]]
    recorded.streams = streams
    assert recorded.differences() != []


@SERVER
def test_a_difference_of_a_millionth_is_noticed(played: Field, server: str) -> None:
    recorded = copy.copy(played.recorded(server, NAMES[0]))
    key = next(key for key in recorded.series if key[0] == "spc:sr")
    at = next(iter(recorded.series[key]))
    recorded.series = {**recorded.series, key: {**recorded.series[key], at: recorded.series[key][at] + 1e-6}}
    (difference,) = recorded.differences()
    assert "spc:sr" in difference


@SERVER
def test_an_alarm_one_evaluation_late_is_noticed(played: Field, server: str) -> None:
    recorded = copy.copy(played.recorded(server, NAMES[0]))
    paging = {("alertname", series.ALERT), ("alertstate", "firing")}
    key = next(key for key in recorded.series if key[0] == "ALERTS" and paging <= {*key[1]})
    later = dict([*recorded.series[key].items()][1:])
    recorded.series = {**recorded.series, key: later}
    (difference,) = recorded.differences()
    assert series.ALERT in difference
