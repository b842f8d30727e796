"""Tickets, budgets, missing feedback and canaries of `up` against the oracle of the generated rules: the same alerts at
the same times, over restarts. Each proof has twins in which one part of `up` is broken."""

from __future__ import annotations

from pathlib import Path

import pytest

from backspan import semconv
from backspan.rules import canary, series, stories, tickets
from backspan.rules.drawn import Drawn
from backspan.rules.generate import rule_file
from backspan.rules.indicators import INDICATORS, matchers
from backspan.server.charts import looks, session, variants, views
from backspan.server.charts.register import Register
from tests.rules.promtools import broken, fails, found, passes

from .charting import NOW, given, house
from .parity import HOUR, STEP, expected, lives, play, scraped, spec, stream


@pytest.fixture(scope="module")
def said():
    return stream()


@pytest.fixture(scope="module")
def oracle(said):
    return expected(said, spec())


def test_the_stream_raises_everything(oracle):
    names = {key[0] for key in oracle}
    assert names == {"BackspanQualityShift", "BackspanFeedbackMissing", "BackspanBudgetBurn", "BackspanCanaryWorse",
                     "BackspanSampleRatioMismatch"}
    assert {key[4] for key in oracle if key[0] == "BackspanQualityShift"} == set(tickets.TEXTS)
    assert {key[4] for key in oracle if key[0] == "BackspanBudgetBurn"} == {"page", "ticket"}
    assert any(len(times) > 1 for times in oracle.values())


def test_up_raises_the_alerts_of_the_rules_at_their_times_over_restarts(tmp_path, said, oracle):
    with house(tmp_path / "s.db", spec()) as up:
        play(up, said)
        assert lives(up) == oracle


@pytest.mark.parametrize("breaks", ["forgetful", "careless"])
def test_what_is_broken_in_up_is_noticed(tmp_path, monkeypatch, said, oracle, breaks):
    """The twins: in one run a part behind each kind of alert is broken, and each kind must differ."""
    since = looks._since
    if breaks == "forgetful":
        monkeypatch.setattr(Drawn, "from_state", classmethod(lambda cls, state: cls()))  # of the windows before
        monkeypatch.setattr(looks, "_since", lambda one, then, at: since(one, then, at - 120))  # an interval more
        monkeypatch.setattr(variants.canary_kinds, "watched", lambda made, name: INDICATORS[name])  # late votes too
        monkeypatch.setattr(variants.canary_split, "HOLD", 300)
    else:
        monkeypatch.setattr(session.tickets, "hold", lambda chart: chart.keep_firing_for)
        monkeypatch.setattr(Register, "_whole", lambda self, time: time + self.interval)
    with house(tmp_path / "s.db", spec()) as up:
        play(up, said)
        found = lives(up)
    for name in {key[0] for key in oracle}:
        assert _of(found, name) != _of(oracle, name), name


def test_an_alert_says_what_is_needed_to_act(tmp_path):
    """Shape, numbers and labels; a limit and what cannot be counted say that they are not looked at here."""
    made = spec(indicators=["thumbs_down", "cost"])
    with house(tmp_path / "s.db", made) as up:
        for number in range(60):
            up.rate([(True, "1")], first=number)
        up.clock.now = NOW + HOUR
        up.tick()
        with up.store.reading() as conn:
            shown = views.overview(conn, up.book, up.clock.now)
            found = {(a["alert"], a["cohort"]["partition"], a.get("rule")): a for a in views.alerts(conn)}
    pager = found["BackspanQualityRegression", "service", None]
    ticket = found["BackspanQualityShift", "service", "we_1"]
    assert pager.keys() < ticket.keys()
    assert (ticket["chart"], ticket["severity"], ticket["owner"], ticket["state"]) == (
        "thumbs_down", "ticket", "search", "firing")
    z = (60 - 6) / (60 * 0.1 * 0.9) ** 0.5
    assert (ticket["statistic"], ticket["threshold"]) == (pytest.approx(z), 3.0)
    assert (ticket["fired"], ticket["since"], ticket["window_n"], ticket["window_bad"]) == (NOW + HOUR, NOW, 60, 60)
    burn = found["BackspanBudgetBurn", "service", None]
    assert (burn["statistic"], burn["objective"], burn["cohort"]["labels"]) == (
        pytest.approx(20), 0.95, {semconv.SERVICE_NAME: "chat", semconv.ENVIRONMENT: "test"})
    raises = {one["name"]: one["raises"] for one in [*shown["charts"], *shown["canaries"]]}
    assert raises == {
        "thumbs_down": ["BackspanQualityRegression", "BackspanQualityShift", "BackspanBudgetBurn"],
        "learnt": ["BackspanQualityRegression", "BackspanQualityShift"],
        "coverage": ["BackspanQualityRegression", "BackspanFeedbackMissing", "BackspanQualityShift"],
        "canary": ["BackspanCanaryWorse", "BackspanSampleRatioMismatch"]}
    assert [one["why"] for one in shown["canaries"]] == ["cost: no data yet: needs the extra `cost` in the app"]


def test_a_chart_that_is_no_longer_there_ends_its_alerts(tmp_path):
    with house(tmp_path / "s.db", given()) as up:
        up.rate([(True, "1")] * 60)
        up.clock.now = NOW + HOUR
        up.tick()
        up.reopen(given(tickets=False))
        up.tick()
        ended = {(a["alert"], a["state"]) for a in up.shown()["alerts"]}
    assert ended == {("BackspanQualityRegression", "firing"), ("BackspanQualityShift", "cleared")}


def test_an_objective_that_is_added_looks_at_what_comes_and_not_at_what_was(tmp_path):
    with house(tmp_path / "s.db", given(tickets=False)) as up:
        up.rate([(True, "1")] * 200)
        up.clock.now = NOW + 60
        up.tick()
        up.reopen(given(tickets=False, slo={"objective": 0.95}))
        for _ in range(4):
            up.clock.now += 30
            up.tick()
        assert {a["alert"] for a in up.shown()["alerts"]} == {"BackspanQualityRegression"}
        up.rate([(True, "1")] * 20, first=500)
        up.clock.now += 30
        up.tick()
        assert "BackspanBudgetBurn" in {a["alert"] for a in up.shown()["alerts"]}


def _of(found, name):
    return {key: times for key, times in found.items() if key[0] == name}


# --- the rules themselves -------------------------------------------------------------------------------------------
def _rules(made, chart):
    """The generated rules of one chart or canary."""
    found = next((rule_file(made, one) for one in made.charts if one.name == chart), None)
    return found or canary.rule_file(made, made.canaries[0])


def _promtool_test(said, oracle):
    """A promtool test: each alert is there when `up` says that it fires, and not one evaluation before or after."""
    streams = {labels: [(at - NOW, n) for at, n in samples] for labels, samples in scraped(said).items()}
    looks_at = [one for key, times in oracle.items() for one in _edges(key, times)]
    return {
        "rule_files": ["rules.yml"], "evaluation_interval": f"{STEP}s",
        "tests": [{"interval": f"{STEP}s", "input_series": stories.written(streams, STEP),
                   "promql_expr_test": [stories.expect(expr, at, n) for expr, at, n in looks_at]}]}


def _edges(key, times):
    name, chart, partition, labels, rule = key
    where = {"alertname": name, "alertstate": "firing", **dict(labels)}
    where |= {"canary": chart} if partition == "canary" else {"chart": chart, "partition": partition}
    where |= {"rule": rule} if name == series.ALERT_SHIFT else {"severity": rule} if rule else {}
    where["variant"] = where.pop("feature_flag_result_variant", "")
    expr = f"count(ALERTS{{{matchers(where)}}}) or vector(0)"
    for fired, cleared in times:
        yield from ((expr, int(at), n) for at, n in ((fired - STEP, 0), (fired, 1)) if at >= 0)
        if cleared is not None:
            yield from ((expr, int(at), n) for at, n in ((cleared - STEP, 1), (cleared, 0)))


@pytest.mark.promtool
@pytest.mark.parametrize("chart", ["thumbs_down", "learnt", "coverage", "canary"])
@pytest.mark.parametrize("tool", found(), ids=lambda path: Path(path).parent.name)
def test_the_generated_rules_raise_the_same_alerts_at_the_same_times(tmp_path, said, oracle, tool, chart):
    """What the tests above compare `up` with is what Prometheus does."""
    mine = {key: times for key, times in oracle.items() if key[1] == chart}
    passes(tool, tmp_path, _rules(spec(), chart), _promtool_test(said, mine))


@pytest.mark.promtool
@pytest.mark.parametrize(("chart", "alert", "old", "new"), [
    ("coverage", "BackspanFeedbackMissing", "9.2", "90"), ("coverage", "BackspanQualityShift", "> 3", "> 30"),
    ("thumbs_down", "BackspanBudgetBurn", ">= 6.9", ">= 600.9"), ("canary", "BackspanCanaryWorse", "- 7200", "- 3600"),
    ("canary", "BackspanSampleRatioMismatch", ">= 6.9", ">= 60.9"),
])
def test_rules_that_differ_are_noticed(tmp_path, said, oracle, chart, alert, old, new):
    """The twins."""
    mine = {key: times for key, times in oracle.items() if key[:2] == (alert, chart)}
    fails(found()[-1], tmp_path, broken(_rules(spec(), chart), alert, old, new), _promtool_test(said, mine))


def test_every_alert_of_an_owned_chart_says_whose_it_is():
    """Those of the rules, tickets too; and none where nobody owns it."""
    made = spec()
    rules = [rule for name in ("thumbs_down", "canary") for group in _rules(made, name)["groups"]
             for rule in group["rules"] if "alert" in rule]
    assert {rule["alert"] for rule in rules} >= {"BackspanQualityShift", "BackspanBudgetBurn", "BackspanCanaryWorse"}
    assert {rule["labels"].get("owner") for rule in rules} == {"search"}
    assert all("owner" not in rule.get("labels", {}) for rule in _rules(made, "learnt")["groups"][0]["rules"])
