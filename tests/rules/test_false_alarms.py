"""The promise, through the real PromQL engine: at most one false alarm in so many rated events, at any volume.

400,000 in-control events at each volume, promise 1,000: at most the Poisson 99.9 % bound of 400 alarms. The same test
with the threshold lowered by ln 3 fails where the detector is not much more careful than it promises (small batches).
What the engine counts must also be, alarm by alarm, what the detector in Python counts on the same streams.
"""

from __future__ import annotations

import pytest
from tests.rules import promtools
from tests.support import prom_arl
from tests.support.prom_arl import Volume, constant, day

pytestmark = pytest.mark.promtool

PROMISE, EVENTS, SEED = 1000, 400_000, 11
BOUND = 463
"""Poisson 99.9 % of `EVENTS` / `PROMISE`."""
VOLUMES = (
    constant(5, EVENTS, 100),
    constant(20, EVENTS, 50),
    constant(100, EVENTS, 10),
    constant(500, EVENTS, 4),
    day(EVENTS, 50),
)
LOWERED = VOLUMES[:2]


def count(volume: Volume, promise: int) -> tuple[int, int]:
    """(alarms, events) of the engine."""
    tool = promtools.need(promtools.found()[-1])
    return prom_arl.in_promql(tool, prom_arl.rules(prom_arl.spec(promise)), volume.streams(SEED))


def test_the_bound() -> None:
    assert prom_arl.poisson_bound(EVENTS / PROMISE) == BOUND


@pytest.mark.parametrize("volume", VOLUMES, ids=lambda volume: volume.name)
def test_no_more_false_alarms_than_promised(volume: Volume) -> None:
    alarms, events = count(volume, PROMISE)
    assert events == volume.events and events >= 0.99 * EVENTS
    assert alarms == prom_arl.in_python(PROMISE, volume.streams(SEED))
    assert 0 < alarms <= prom_arl.poisson_bound(events / PROMISE)


@pytest.mark.parametrize("volume", LOWERED, ids=lambda volume: volume.name)
def test_a_threshold_lowered_by_ln_3_is_noticed(volume: Volume) -> None:
    """The twin."""
    alarms, events = count(volume, PROMISE // 3)
    assert events == volume.events
    assert alarms == prom_arl.in_python(PROMISE // 3, volume.streams(SEED))
    assert alarms > prom_arl.poisson_bound(events / PROMISE)
