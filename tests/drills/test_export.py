"""The benchmark's outages at full length: a Collector that refuses for 15 s, and one that is gone for 60 s."""

from __future__ import annotations

import pytest
from benchmarks.export import run

pytestmark = pytest.mark.drill


@pytest.mark.parametrize(("how", "seconds"), [("refuse", 15), ("away", 60)])
def test_an_outage_loses_no_span(how, seconds):
    found = run.load((seconds + 5) * 50, 50, how, seconds)
    assert (found["missing"], found["lost"], found["stripped"]) == (0, 0, 0)
    assert found["retries"] >= 2  # there was an outage


def test_a_queue_that_is_too_small_for_it_is_noticed(monkeypatch):
    """The twin."""
    monkeypatch.setattr(run, "MORE", {"BACKSPAN_QUEUE_BYTES": "100000"})
    found = run.load(1000, 100, "refuse", 15)
    assert found["missing"] == found["lost"] > 0
