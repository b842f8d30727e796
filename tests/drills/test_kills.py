"""Every part is stopped and killed under load, in an order that the seed decides; what was accepted arrives, once.

The seed is printed; ``DRILL_SEED`` repeats a run. The twins break what keeps things over a kill.
"""

from __future__ import annotations

import os
import random
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.drills.conftest import configured, end, kill, load
from tests.drills.found import SETTLE_S, lacking, missing_traces, missing_turns, settled
from tests.stack.conftest import House

pytestmark = pytest.mark.drill
SEED = int(os.environ.get("DRILL_SEED", "5"))
KILLS = 20
KILLED = ("collector", "gateway", "prometheus")
FORGIVEN_S = 30.0
"""What Tempo acknowledged so shortly before its own kill may be lost: it is not on disk yet."""
HEARD_S = 1.0
"""So much later than the Collector a sender may know, on a busy machine, that its call was accepted."""
SOME = 30
"""Calls that are accepted before something happens."""


def test_twenty_kills_lose_nothing_and_double_nothing(house: House) -> None:
    chance = random.Random(SEED)
    print(f"seed {SEED}")
    with load(house, "killed", SEED) as sent:
        for name in [*KILLED, *chance.choices(KILLED, k=KILLS - len(KILLED))]:
            time.sleep(chance.uniform(0.2, 1.5))
            kill(house, name, chance.uniform(0, 1.5))
    accepted = sent.accepted
    print(f"{len(accepted.calls)} calls, {len(accepted.votes)} votes accepted; {accepted.repeated} requests repeated")
    assert len(accepted.calls) > 100 and len(accepted.votes) > 50 and accepted.repeated > 0
    assert settled(house.backend, "killed", accepted) == {}


def test_ends_in_good_order_lose_nothing(house: House) -> None:
    with load(house, "ended", SEED) as sent:
        for name in ("tempo", "gateway", "alertmanager", "prometheus", "collector"):
            end(house, name, 1.0)
    assert settled(house.backend, "ended", sent.accepted) == {}


def test_a_killed_tempo_lacks_only_what_it_had_just_acknowledged(house: House) -> None:
    with load(house, "traced", SEED) as sent:
        sent.wait(SOME)
        time.sleep(FORGIVEN_S + 1)
        killed_at = time.time()
        kill(house, "tempo", 2.0)
        sent.wait(SOME)
    accepted = sent.accepted
    forgiven = [call for call in accepted.calls if -FORGIVEN_S <= call.accepted_at - killed_at <= HEARD_S]
    kept = [call for call in accepted.calls if call not in forgiven]
    print(f"{len(missing_traces(house.backend, forgiven))} of {len(forgiven)} traces of the last seconds are missing")
    assert len(kept) > 50 and len(forgiven) > 50
    accepted.calls = kept
    # Answers of `forgiven` are counted, too; spans of votes may be lost with theirs.
    assert settled(house.backend, "traced", accepted, but={"answers counted", "spans of votes"}) == {}


# --- the twins ------------------------------------------------------------------------------------------------------
def test_a_queue_in_memory_is_noticed(house: House) -> None:
    """Tempo is away while the Collector is killed: without its queue on disk the Collector forgets."""
    with configured(house, "      storage: file_storage/queue\n", ""):
        assert _through_a_double_outage(house, "forgetful", seconds=20) != []
    assert _through_a_double_outage(house, "reminded", seconds=SETTLE_S) == []


def _through_a_double_outage(house: House, service: str, seconds: float) -> list[object]:
    """What is still missing after so many seconds, at the most."""
    kill(house, "collector", 0)
    with house.without("tempo"):
        with load(house, service, SEED) as sent:
            sent.wait(SOME)
        kill(house, "collector", 0)
    deadline = time.monotonic() + seconds
    while (missing := missing_traces(house.backend, sent.accepted.calls)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return [*missing]


def test_a_turn_and_a_vote_taken_from_the_store_are_noticed(house: House) -> None:
    """The checks above would see one that is missing."""
    with load(house, "robbed", SEED) as sent:
        sent.wait(SOME)
    assert settled(house.backend, "robbed", sent.accepted) == {}
    call, vote = sent.accepted.calls[0], next(iter(sent.accepted.votes))
    with house.without("gateway"):
        _rob(house.stack.plan.data / "gateway.db", call.trace_id, vote)
    assert missing_turns(house.backend, "robbed", sent.accepted.calls) == {call.trace_id}
    assert lacking(house.backend, "robbed", sent.accepted)["votes"] == {vote}


def _rob(path: Path, trace_id: str, vote: str) -> None:
    with closing(sqlite3.connect(path)) as base, base:
        base.execute("pragma foreign_keys = off")
        base.execute("delete from turns where trace_id = ?", (trace_id,))
        base.execute("delete from votes where id = ?", (vote,))
