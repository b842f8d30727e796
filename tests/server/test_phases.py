"""A cohort's life in `up`, over restarts, against `backspan.spc.phases` driven by hand."""

import random

import pytest

from backspan import semconv
from backspan.rules import series
from backspan.server.charts.meter import cohort_key
from backspan.spc.phases import Cohort, Effective
from backspan.spc.shiryaev import CAP_ABOVE_LIMIT
from tests.store.older import to_version_4

from .charting import DIMS, NOW, given, house, learnt, vote

WINDOW = 600


class ByHand:
    """One chart, rating by rating: the cohorts of each partition, their parents, and windows that close in time."""

    def __init__(self, chart):
        self.chart, self.limit = chart, chart.limit
        self.cohorts, self.parents, self.sums = {}, {}, {}
        self.window, self.fired, self.firing, self.n = None, [], set(), {}

    def cohort(self, partition, labels):
        key = cohort_key(partition, labels)
        if key not in self.cohorts:
            above = partition.parent
            parent = None
            if above is not None and self.chart.baseline.learnt:
                parent = self.parents.setdefault(cohort_key(above, labels), Cohort(self.chart.plan))
            self.cohorts[key] = (Cohort(self.chart.plan), parent)
        return key, *self.cohorts[key]

    def rate(self, time, bad, version):
        self.run_to(time)
        labels = {**DIMS, semconv.PROMPT_VERSION: version}
        for partition in self.chart.partitions:
            key, cohort, parent = self.cohort(partition, labels)
            cohort.take(1, int(bad), cohort.baseline(parent), self.limit + CAP_ABOVE_LIMIT)
            n, x = self.sums.get(key, (0, 0))
            self.sums[key], self.n[key] = (n + 1, x + bad), self.n.get(key, 0) + 1
            self.judge(key)

    def judge(self, key):
        value = self.cohorts[key][0].value
        if key not in self.firing and value is not None and value >= self.limit:
            self.firing.add(key)
            self.fired.append((key, self.n[key]))
        elif key in self.firing and (value is None or value < self.limit - CAP_ABOVE_LIMIT):
            self.firing.discard(key)

    def run_to(self, time):
        start = time - time % self.chart.window
        if self.window is not None and start > self.window:
            self.close()
        self.window = start if self.window is None else max(start, self.window)

    def close(self):
        totals = {}
        for key, window in self.sums.items():
            cohort, parent = self.cohorts[key]
            calm = cohort.phase(cohort.baseline(parent), self.limit) != "alarm"
            if parent is not None:
                n, x = totals.get(id(parent), (0, 0))
                totals[id(parent)] = (n + calm * window[0], x + calm * window[1])
            if calm:
                cohort.close(*window, parent)
        for parent in self.parents.values():
            if totals.get(id(parent), (0, 0))[0]:
                parent.close(*totals[id(parent)])
        self.sums = {}
        self.refresh()

    def refresh(self):
        for key, (cohort, parent) in self.cohorts.items():
            cohort.take(0, 0, cohort.baseline(parent), self.limit + CAP_ABOVE_LIMIT)
            self.judge(key)

    def rebase(self, key, p0, phi):
        cohort, _ = self.cohorts[key]
        cohort.override, cohort.sr = Effective(p0, phi, "rebased"), None
        self.refresh()

    def standing(self):
        found = {}
        for key, (cohort, parent) in self.cohorts.items():
            base = cohort.baseline(parent)
            found[key] = (cohort.phase(base, self.limit), base.p0 if base else None, base.phi if base else None,
                          cohort.value)
        return found


def seen(up):
    """The same of `up`."""
    names = {p.name: p for p in up.spec.charts[0].partitions}
    return {cohort_key(names[c["partition"]], c["labels"]): (c["phase"], c["p0"], c["phi"], c["statistic"])
            for c in up.shown()["cohorts"]}


def stream(seed, windows):
    """(time, bad, version): a second version after a while, worse and clustered towards the end."""
    chance = random.Random(seed)
    for window in range(windows):
        for at in sorted(chance.uniform(0, WINDOW) for _ in range(chance.choice((0, 8, 25, 40)))):
            version = "1" if window < 12 or chance.random() < 0.3 else "2"
            p = 0.12 if window < 25 else 0.5 if version == "2" else 0.15
            yield NOW + window * WINDOW + at, chance.random() < p, version


def play(up, hand, seed, windows=40, restart=0.3, ticks=0.3):
    """Both get the same stream; `up` is restarted and ticked in between. Returns the phases seen."""
    chance, phases, events, first = random.Random(seed + 1000), set(), list(stream(seed, windows)), 0
    while first < len(events):
        window = events[first][0] // WINDOW
        same = sum(1 for time, *_ in events[first:] if time // WINDOW == window)
        some = chance.randint(1, same)
        up.clock.now = (window + 1) * WINDOW - 1e-3
        votes = [up.store.put_votes([vote(first + n, bad, version, time=time)])
                 for n, (time, bad, version) in enumerate(events[first:first + some])]
        for waiting in votes:
            waiting.result()
        for time, bad, version in events[first:first + some]:
            hand.rate(time, bad, version)
        first += some
        if chance.random() < ticks:
            up.tick()
        if chance.random() < restart:
            phases |= compare(up, hand)
            up.reopen()
    return phases | compare(up, hand)


def compare(up, hand):
    shown, expected = seen(up), hand.standing()
    assert shown.keys() == expected.keys()
    for key, (phase, *numbers) in expected.items():
        assert shown[key][0] == phase, key
        for mine, number in zip(shown[key][1:], numbers, strict=True):
            assert mine == (None if number is None else pytest.approx(number, rel=1e-9)), key
    return {phase for phase, *_ in expected.values()}


@pytest.mark.parametrize("seed", [1, 2])
def test_learning_inherited_frozen_alarm_and_rebased_are_those_of_the_oracle_over_restarts(tmp_path, seed):
    spec = learnt()
    with house(tmp_path / "s.db", spec) as up:
        hand = ByHand(spec.charts[0])
        phases = play(up, hand, seed)
        assert {"learning", "frozen", "alarm"} <= phases
        alarms = [a for a in up.shown()["alerts"] if a["alert"] == series.ALERT]
        fired = sorted((cohort_key(p, a["cohort"]["labels"]), a["rating"]) for a in alarms
                       for p in spec.charts[0].partitions if p.name == a["cohort"]["partition"])
        assert fired == sorted(hand.fired) != []
        key = next(key for key in hand.cohorts if '"2"' in key)
        labels = {**DIMS, semconv.PROMPT_VERSION: "2"}
        row = {"cohort": key, "p0": 0.5, "phi": 1.5, "phase": "rebased", "reason": "on purpose", "excluded": []}
        chart = up.book.charts["thumbs_down"]
        up.store.write(lambda conn: up.book.set_baselines(conn, chart, [row], up.clock.now)).result()
        hand.run_to(up.clock.now)
        hand.rebase(key, 0.5, 1.5)
        up.reopen()
        assert "rebased" in compare(up, hand)
        up.rate([(True, "2")] * 5, first=10**6)
        for _ in range(5):
            hand.rate(up.clock.now, True, "2")
        compare(up, hand)
        assert up.cohort("prompt", **{semconv.PROMPT_VERSION: labels[semconv.PROMPT_VERSION]})["phi"] == 1.5


def test_the_comparison_notices_a_detector_that_forgets(tmp_path):
    """The twin: a window that is learnt from twice is seen."""
    spec = learnt()
    with house(tmp_path / "s.db", spec) as up:
        hand = ByHand(spec.charts[0])
        play(up, hand, 3, windows=3)
        for cohort, _ in hand.cohorts.values():
            cohort.learner.add(10, 5)
        with pytest.raises(AssertionError):
            compare(up, hand)


def test_a_new_version_inherits_and_is_never_accepted_worse_than_the_others(tmp_path):
    with house(tmp_path / "s.db", learnt(ratings=100, windows=5)) as up:
        n = 0
        for window in range(30):
            up.clock.now = NOW + window * WINDOW
            version = "1" if window < 8 else "2"
            up.rate([(k % 10 == 0 if version == "1" else k % 7 == 0, version) for k in range(30)], first=n)
            n += 30
            if window == 8:
                newcomer = up.cohort("prompt", **{semconv.PROMPT_VERSION: "2"})
                [parent] = up.shown()["parents"]
                assert (newcomer["phase"], newcomer["p0"]) == ("inherited", parent["p0"])
                assert newcomer["learning"]["of_n"] == 100
        newcomer = up.cohort("prompt", **{semconv.PROMPT_VERSION: "2"})
        assert newcomer["baseline"] == "frozen" and newcomer["p0"] == parent["p0"]


def test_a_window_that_nothing_follows_closes_in_its_time(tmp_path):
    with house(tmp_path / "s.db", learnt()) as up:
        up.rate([(False, "1")] * 20)
        up.clock.now += WINDOW - 1
        up.tick()
        assert up.cohort()["learning"] == {"n": 0, "windows": 0, "of_n": 100, "of_windows": 5}
        up.clock.now += 1
        up.tick()
        assert up.cohort()["learning"] == {"n": 20, "windows": 1, "of_n": 100, "of_windows": 5}
        up.reopen()
        up.tick()
        assert up.cohort()["learning"]["windows"] == 1


def test_what_comes_late_is_counted_in_the_window_that_is_open_and_what_claims_the_future_now(tmp_path):
    with house(tmp_path / "s.db", learnt()) as up:
        up.clock.now += 10 * WINDOW
        up.rate([(False, "1")] * 3)
        up.rate([(True, "1")] * 2, first=10, time=NOW)
        up.rate([(True, "1")] * 2, first=20, time=NOW + 1e9)
        assert up.cohort()["window"] == {"start": up.clock.now, "n": 7, "bad": 4, "rate": 4 / 7}


def test_a_promise_in_days_follows_the_volume(tmp_path):
    spec = learnt(false_alarm_every="60d")
    chart = spec.charts[0]
    with house(tmp_path / "s.db", spec) as up:
        assert up.shown()["threshold"] == chart.limit_at(0.0)
        for window, volume in enumerate((40, 0, 20)):
            up.clock.now = NOW + window * WINDOW
            up.rate([(False, "1")] * volume, first=100 * window)
        up.clock.now = NOW + 4 * WINDOW
        up.tick()
        per_day = 60 / 4 * 86400 / WINDOW
        shown = up.shown()
        assert shown["volume"] == pytest.approx(per_day)
        assert shown["threshold"] == pytest.approx(chart.limit_at(per_day))
        assert shown["threshold"] > chart.limit_at(0.0)
        assert shown["false_alarm_every"] == round(60 * per_day)
        up.clock.now = NOW + 4 * WINDOW + 8 * 86400
        up.tick()
        assert up.shown()["volume"] == 0.0


def test_a_chart_that_counts_something_else_starts_anew_and_other_alternatives_keep_what_was_learnt(tmp_path):
    with house(tmp_path / "s.db", learnt()) as up:
        up.rate([(False, "1")] * 20)
        up.clock.now += WINDOW
        up.tick()
        up.reopen(learnt(alternatives=[1.5, 4]))
        assert up.cohort()["learning"]["n"] == 20
        up.reopen(learnt(indicator="low_stars"))
        assert up.cohort()["learning"]["n"] == 0


@pytest.mark.sqlite
def test_a_file_of_version_1_goes_on(tmp_path):
    """Its votes, its evidence and its points are still there."""
    spec = given()
    with house(tmp_path / "s.db", spec) as up:
        up.rate([(n % 3 == 0, "1") for n in range(70)])
        before, points = up.cohort(), up.cohort()["points"]
        up.store.write(_to_version_1).result()
        up.reopen()
        after = up.cohort()
        assert (after["statistic"], after["ratings"], after["bad"]) == (before["statistic"], 70, 24)
        shown = [(p["number"], p["n"], p["bad"], p["started"]) for p in after["points"]]
        assert shown == [(p["number"], p["n"], p["bad"], p["started"]) for p in points]
        up.rate([(False, "1")] * 3, first=100)
        oracle = spec.charts[0].detector()
        for n in range(73):
            oracle.step(1, int(n < 70 and n % 3 == 0))
        assert up.cohort()["statistic"] == pytest.approx(oracle.value, rel=1e-12)
        assert sum(p["n"] for p in up.cohort()["points"]) == 73


def _to_version_1(conn):
    """Take back what version 2 and those after it have added."""
    import json

    to_version_4(conn)
    rows = conn.exec_driver_sql("SELECT chart, cohort, state FROM detectors").fetchall()
    for chart, cohort, text in rows:
        state = json.loads(text)
        old = {"sr": state["life"]["sr"]["log_r"], "alarm": state["alarm"], "cusum": state["cusum"],
               "onset": state["onset"], "onset_time": state["onset_time"]}
        conn.exec_driver_sql("UPDATE detectors SET state = ? WHERE chart = ? AND cohort = ?",
                             (json.dumps(old), chart, cohort))
    kept = "chart, cohort, number, n, bad, statistic, started, ended"
    conn.exec_driver_sql(f"CREATE TABLE points AS SELECT {kept} FROM drawn")
    for table in ("drawn", "windows", "clocks", "baselines"):
        conn.exec_driver_sql(f"DROP TABLE {table}")
    for table in ("calls", "turns"):
        conn.exec_driver_sql(f"ALTER TABLE {table} DROP COLUMN finish")
    conn.exec_driver_sql("UPDATE meta SET value = '1' WHERE key = 'schema'")
