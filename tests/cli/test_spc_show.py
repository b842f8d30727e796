"""The chart as a picture: what it holds, as SVG and in a terminal; and the alarms of a replayed history."""

from __future__ import annotations

import re
from random import Random
from xml.etree import ElementTree

import pytest
from tests.cli.spc_history import HOUR, spec

from backspan import semconv
from backspan.cli._spc import svg, terminal
from backspan.cli._spc.drawing import picture
from backspan.cli._spc.episodes import Snapshots, Watch, delay, places, poisson_tail, replay_with, shifted
from backspan.cli._spc.history import Batch, History
from backspan.cli._spc.replay import Replay, limit_of
from backspan.spc.phases import Effective
from backspan.spc.shiryaev import BINOMIAL, Model
from backspan.spc.simulate import binomial

COHORT = ("service", ((semconv.SERVICE_NAME, "chat & co <x>"),))
NS = {"s": "http://www.w3.org/2000/svg"}


def history(share=lambda hour: 0.08, hours=120, n=60, seed=2, **more):
    """One batch every six minutes, ``n`` events an hour."""
    random = Random(seed)
    batches = [Batch((i + 1) * 360.0, n / 10, binomial(n // 10, share(i // 10))(random)) for i in range(hours * 10)]
    chart = spec(more.pop("baseline", {"kind": "given", "p0": 0.1}), **more).charts[0]
    return History(chart, "here", 0, hours * HOUR, 360, {COHORT: batches})


def bad_evening(hour):
    return 0.35 if 60 <= hour < 66 else 0.08


# --- pictures -------------------------------------------------------------------------------------------------------
def test_every_window_is_a_point_with_its_own_limits():
    found = picture(history(bad_evening), COHORT, {}, HOUR)
    assert (found.kind, len(found.marks), sum(m.n for m in found.marks)) == ("p", 120, 7200)
    assert all(m.limits.centre == 0.1 for m in found.marks)
    assert {m.at // HOUR for m in found.marks if m.out} >= {61, 62, 63, 64, 65}
    [alarm] = found.alarms
    assert 60 * HOUR < alarm.fired < 63 * HOUR and alarm.ended > 66 * HOUR
    assert found.phases == [(0, "given")] and found.marks[62].phase == "alarm"


def test_phases_are_those_of_learning():
    found = picture(history(baseline="learnt"), COHORT, {}, HOUR)
    assert [phase for _, phase in found.phases] == ["learning", "frozen"]
    assert found.phases[1][0] == pytest.approx(42 * HOUR, abs=HOUR)
    assert found.marks[0].evidence is None is not found.marks[-1].evidence
    by_hand = picture(history(baseline="learnt"), COHORT, {COHORT: Effective(0.2, 1.0, "rebased")}, HOUR)
    assert by_hand.phases == [(0, "rebased")] and by_hand.marks[0].limits.centre == 0.2


def test_rare_events_are_drawn_as_gaps():
    found = picture(history(lambda hour: 0.004, hours=200, n=100, baseline="learnt"), COHORT, {}, HOUR)
    assert found.kind == "g" and "rare" in found.why and len(found.marks) > 20
    assert all(m.value >= 4 for m in found.marks)
    few = picture(history(lambda hour: 0.004, hours=10, n=100, baseline="learnt"), COHORT, {}, HOUR)
    assert few.kind == "p" and "too few" in few.why or few.kind == "p"
    forced = picture(history(lambda hour: 0.004, hours=200, n=100, baseline="learnt", chart="p"), COHORT, {}, HOUR)
    assert (forced.kind, forced.why) == ("p", "as the spec says")


def test_svg_is_complete_and_well_formed():
    found = picture(history(bad_evening), COHORT, {}, HOUR)
    root = ElementTree.fromstring(svg.draw(found))
    titles = [title.text for title in root.iter(f"{{{NS['s']}}}title")]
    points = [text for text in titles if re.match(r"1970-01-\d\d \d\d:00Z: ", text)]
    assert len(points) == 120 and all("n = 60" in text and "limits" in text for text in points)
    out = sum(m.out for m in found.marks)
    assert len(root.findall(".//s:path", NS)) == out and len(root.findall(".//s:circle", NS)) == 120 - out
    texts = "".join(root.itertext())
    assert "chat & co <x>" in texts and "evidence against its limit" in texts and "03 Jan" in texts
    assert sum(text.startswith("alarm 1970-01-03") for text in titles) == 2
    x = [float(c.get("cx")) for c in root.findall(".//s:circle", NS)]
    y = [float(c.get("cy")) for c in root.findall(".//s:circle", NS)]
    assert min(x) >= svg.LEFT and max(x) <= svg.WIDTH - svg.RIGHT
    assert min(y) >= svg.TOP and max(y) <= svg.TOP + svg.HEIGHT
    assert "style" not in svg.draw(found) and "#000" not in svg.draw(found)


def test_svg_of_a_single_point_and_of_none():
    one = picture(history(hours=1), COHORT, {}, HOUR)
    assert ElementTree.fromstring(svg.draw(one)) is not None
    with pytest.raises(ValueError, match="at least one point"):
        svg.draw(picture(History(one.chart, "", 0, 1, 1, {COHORT: []}), COHORT, {}, HOUR))


@pytest.mark.parametrize("most", [0.003, 0.21, 1.0, 7.0, 431.0])
def test_ticks_are_round_and_within(most):
    found = svg.ticks(most)
    assert found[0] == 0 and found[-1] <= most and 3 <= len(found) <= 9


def test_terminal():
    found = picture(history(bad_evening), COHORT, {}, HOUR)
    plain = terminal.draw(found, 80, colour=False)
    assert "\x1b" not in plain and "X" in plain and "limit" in plain and "01 Jan" in plain
    assert max(map(len, plain.splitlines())) <= 80
    assert "\x1b[" in terminal.draw(found, 80, colour=True)
    calm = picture(history(), COHORT, {}, HOUR)
    assert not any(m.out for m in calm.marks) and "X" not in terminal.draw(calm, 80, colour=False)


# --- alarms of a replay ---------------------------------------------------------------------------------------------
def played(made, begin=None):
    replay, watch, snapshots = Replay(made.chart, made.step, limit_of(made)), Watch(made), Snapshots(begin or {})
    replay_with(made, replay, watch, snapshots, lambda at: None)
    return replay, watch, snapshots


def test_an_alert_is_held_and_then_ends():
    _, watch, _ = played(history(bad_evening))
    [episode] = watch.end(120 * HOUR)
    over = [r for r in [episode.last_over] if r]
    assert episode.ended == over[0] + 3600 and episode.bad / episode.n > 0.15
    _, quiet, _ = played(history())
    assert quiet.end(120 * HOUR) == [] and quiet.watched == {"service": 7200}


def test_an_alert_ends_when_nobody_rates_any_more():
    made = history(lambda hour: 0.5, hours=10)
    made.until = 40 * HOUR
    _, watch, _ = played(made)
    [episode] = watch.end(40 * HOUR)
    assert episode.ended == pytest.approx(10 * HOUR + made.chart.idle_after + made.chart.keep_firing_for)
    [fresh] = played(history(lambda hour: 0.5, hours=10))[1].end(10 * HOUR)
    assert fresh.ended is None


def test_an_injected_shift_is_found_and_a_larger_one_sooner():
    made = history(hours=400)
    begin = places(made, [COHORT], None, 12, seed=1)
    assert begin == places(made, [COHORT], None, 12, seed=1) != places(made, [COHORT], None, 12, seed=2)
    replay, watch, snapshots = played(made, begin)
    assert len(snapshots.taken) == 12 and watch.end(made.until) == []
    rows = made.batches[COHORT]
    found = {shift: [delay(replay, place, rows, shift, 0.08, 1) for place in snapshots.taken]
             for shift in (1.0001, 2, 3)}
    assert all(d.found for d in found[3]) and sum(d.found for d in found[2]) >= 10
    assert sum(d.events for d in found[3]) < sum(d.events for d in found[2])
    assert not any(d.found for d in found[1.0001])
    assert found[3] == [delay(replay, place, rows, 3, 0.08, 1) for place in snapshots.taken]


def test_places_that_are_no_test_are_not_tried():
    made = history(bad_evening, baseline="learnt")
    _, _, snapshots = played(made, {10.0 * HOUR: {COHORT}, 64.0 * HOUR: {COHORT}, 100.0 * HOUR: {COHORT}})
    assert snapshots.refused == {"learning": 1, "alarm": 1} and [p.at for p in snapshots.taken] == [100 * HOUR]


@pytest.mark.parametrize(("model", "shift", "rate", "low", "high"), [
    (BINOMIAL, 2.0, 0.1, 0.19, 0.21), (BINOMIAL, 0.5, 0.1, 0.045, 0.055), (BINOMIAL, 50.0, 0.1, 0.94, 0.96),
    (Model("poisson"), 2.0, 0.1, 0.19, 0.21), (Model("poisson"), 0.25, 0.1, 0.02, 0.03)])
def test_a_shift_has_the_rate_it_says(model, shift, rate, low, high):
    random = Random(3)
    batches = [Batch(0, 500, 50) for _ in range(100)]
    assert low < sum(shifted(b, shift, rate, model, random) for b in batches) / 50_000 < high
    big = shifted(Batch(0, 5e6, 5e5), shift, rate, model, random)
    assert low < big / 5e6 < high


def test_how_likely_so_many_alarms_are():
    assert poisson_tail(0, 0.3) == 1 and poisson_tail(1, 0.3) == pytest.approx(0.2591818)
    assert poisson_tail(3, 0.2) == pytest.approx(0.00114848, rel=1e-5)
