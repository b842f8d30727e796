"""Leases: one holder at a time, over expiry, release and races of real processes."""

import subprocess
import sys

from backspan.store import leases
from tests.support import databases

from .conftest import NOW

FOR = 60.0


def _acquire(store, holder, now=NOW):
    return store.write(lambda conn: leases.acquire(conn, "job", holder, now, FOR)).result()


def _holder(store, now=NOW):
    with store.reading() as conn:
        return leases.holder_of(conn, "job", now)


def test_a_lease_has_one_holder_who_may_renew_it(store):
    assert _holder(store) is None
    assert (_acquire(store, "a"), _acquire(store, "b"), _acquire(store, "a", NOW + 50)) == (True, False, True)
    assert _holder(store, NOW + 109) == "a" and not _acquire(store, "b", NOW + 109)


def test_who_does_not_renew_loses_it_when_it_expires(store):
    _acquire(store, "a")
    assert (_holder(store, NOW + 59.9), _holder(store, NOW + 60)) == ("a", None)
    assert _acquire(store, "b", NOW + 60)
    assert not _acquire(store, "a", NOW + 61) and _holder(store, NOW + 61) == "b"


def test_a_lease_that_is_given_back_is_anybodys_at_once(store):
    _acquire(store, "a")
    store.write(lambda conn: leases.release(conn, "job", "b")).result()
    assert _holder(store) == "a"
    store.write(lambda conn: leases.release(conn, "job", "a")).result()
    assert _holder(store) is None and _acquire(store, "b")


def test_leases_of_different_names_do_not_touch(store):
    _acquire(store, "a")
    assert store.write(lambda conn: leases.acquire(conn, "other", "b", NOW, FOR)).result()


RACE = """
import sys
from backspan.store import leases
from backspan.store.engines import connect
writer, _ = connect(sys.argv[1])
sys.stdin.readline()
won = 0
for turn in range(200):
    with writer.begin() as conn:
        if {take}(conn, f"turn-{{turn}}", sys.argv[2], 1000.0, 60.0):
            won += 1
print(won)
"""
GREEDY = "(lambda conn, *given: leases.holder_of(conn, given[0], 2000.0) is None)"
"""The twin of `leases.acquire`: it looks, and does not take."""


def _race(tmp_path, name, take):
    """How many leases each of three processes won that tried for the same two hundred at the same time."""
    url, script = databases.at(tmp_path / name), RACE.format(take=take)
    racers = [subprocess.Popen([sys.executable, "-c", script, url, f"racer-{number}"], stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, text=True) for number in range(3)]
    for racer in racers:
        racer.stdin.write("go\n")
        racer.stdin.flush()
    return [int(racer.communicate(timeout=60)[0]) for racer in racers]


def test_of_processes_that_race_for_a_lease_one_wins(tmp_path):
    assert sum(_race(tmp_path, "s.db", "leases.acquire")) == 200


def test_the_race_would_notice_a_lease_that_is_not_taken(tmp_path):
    assert _race(tmp_path, "t.db", GREEDY) == [200, 200, 200]
