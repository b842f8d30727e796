"""A network that goes away between the parts, and comes back: what was accepted arrives, once."""

from __future__ import annotations

import time

import pytest
from tests.drills.cables import BACK, FRONT, moved, pulled
from tests.drills.conftest import configured, load
from tests.drills.found import missing_traces, settled
from tests.stack.conftest import House

pytestmark = pytest.mark.drill
SEED, CUT_S = 7, 12.0
SOME = 12
"""Calls that are accepted before a cut, and after it."""


@pytest.mark.parametrize("cable", [FRONT, BACK], ids=["before the Collector", "behind the Collector"])
def test_a_cut_loses_nothing(house: House, cable: str) -> None:
    with moved(house), load(house, f"cut {cable}", SEED) as sent:
        sent.wait(SOME)
        with pulled(cable, CUT_S):
            pass
        sent.wait(SOME)
        sent.stop()
        assert settled(house.backend, f"cut {cable}", sent.accepted) == {}


def test_a_collector_that_gives_up_is_noticed(house: House) -> None:
    """The twin: it tries once, and its requests end with the cut."""
    patient = "retry_on_failure: {max_elapsed_time: 0s}"
    once = "timeout: 1s\n    retry_on_failure: {enabled: false}"
    with configured(house, patient, once), moved(house), load(house, "given up", SEED) as sent:
        sent.wait(SOME)
        with pulled(BACK, CUT_S):
            pass
        sent.stop()
        time.sleep(5)
        assert missing_traces(house.backend, sent.accepted.calls) != []
