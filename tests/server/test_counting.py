"""What the charts count of what the store keeps: each call, answer, judgement and reason once."""

import pytest

from backspan import semconv
from backspan.rules.indicators import INDICATORS
from backspan.rules.spec import parse
from backspan.server.charts.meter import why_not
from backspan.store import Call

from .charting import NOW, SERVICE, given, house, vote

MODEL = [*SERVICE, semconv.REQUEST_MODEL]


def chart(indicator, name=None, **more):
    said = {"name": name or indicator, "indicator": indicator, "false_alarm_every": 10**6, "baseline": "learnt",
            "cohorts": {"service": SERVICE}}
    return {**said, **more}


def spec(*charts, **more):
    return parse({"version": 1, "charts": list(charts), **more})


def call(n, **fields):
    said = {"trace_id": f"{n + 1:032x}", "span_id": f"{n + 1:016x}", "operation": semconv.CHAT, "started": NOW + n,
            "ended": NOW + n + 1, "service": "chat", "environment": "test", "model": "m-1", "response_model": "m-1-0",
            "input_tokens": 100, "output_tokens": 7}
    return Call(**{**said, **fields})


def send(up, *calls):
    up.store.put_spans(list(calls)).result()


def counted(up, name):
    [cohort] = up.shown(name)["cohorts"]
    return cohort["ratings"], cohort["bad"]


def test_calls_count_by_error_duration_and_tokens_and_twice_sent_is_once(tmp_path):
    made = spec(*(chart(name) for name in ("errors", "slow_answers", "input_tokens", "output_tokens")))
    with house(tmp_path / "s.db", made) as up:
        up.clock.now = NOW + 3600
        calls = [call(0), call(1, error="timeout", answered=False, output_tokens=None), call(2, ended=NOW + 2 + 10.24),
                 call(3, ended=NOW + 3 + 10.25), call(4, operation=semconv.EMBEDDINGS)]
        send(up, *calls)
        send(up, *calls, calls[0])
        up.reopen()
        send(up, *calls)
        assert counted(up, "errors") == (4, 1)
        assert counted(up, "slow_answers") == (4, 1)
        assert counted(up, "input_tokens") == (4, 400)
        assert counted(up, "output_tokens") == (4, 21)


def test_an_answer_counts_once_however_its_spans_arrive_and_a_rate_has_its_own_exposure(tmp_path):
    with house(tmp_path / "s.db", spec(chart("regenerate"), chart("feedback_coverage"))) as up:
        up.clock.now = NOW + 100
        send(up, call(0))
        send(up, call(0), call(1, turn_id="t"), call(2, turn_id="t"))
        assert counted(up, "regenerate") == (1, 0)
        send(up, call(3, turn_id="t", operation=semconv.INVOKE_WORKFLOW, answered=True))
        send(up, call(3, turn_id="t", operation=semconv.INVOKE_WORKFLOW, answered=True))
        up.store.put_votes([vote(0, True, "1", name="implicit_regenerate", source="implicit"),
                            vote(1, True, "1", name="implicit_stop", source="implicit"), vote(2, True, "1")]).result()
        assert counted(up, "regenerate") == (2, 1)
        assert counted(up, "feedback_coverage") == (2, 1)


def test_reasons_count_per_judgement_that_gives_them(tmp_path):
    made = spec(chart("bad_reasons"), chart("bad_reasons", "rude", where={"reason": "rude"}),
                chart("reason_completeness"))
    with house(tmp_path / "s.db", made) as up:
        up.rate([(True, "1")], reasons=("rude", "slow"))
        up.rate([(True, "1")], first=1)
        up.rate([(False, "1")], first=2, reasons=("nice",))
        up.rate([(True, "1")], first=0, reasons=("rude", "wrong"))
        assert counted(up, "bad_reasons") == (3, 2)
        assert counted(up, "rude") == (3, 1)
        assert counted(up, "reason_completeness") == (2, 2)


def test_a_family_of_judgements_counts_all_its_names(tmp_path):
    with house(tmp_path / "s.db", spec(chart("evaluator_failures"))) as up:
        up.rate([(True, "1"), (False, "1")], name="evaluator_grounded", source="evaluator")
        up.rate([(True, "1")], first=5, name="evaluator_policy", source="evaluator")
        up.rate([(True, "1")], first=6)
        assert counted(up, "evaluator_failures") == (3, 2)


@pytest.mark.parametrize("name", sorted(INDICATORS))
def test_every_indicator_says_whether_it_is_counted_here(name):
    if INDICATORS[name].kind == "gauge":
        return
    said = why_not(spec(chart(name)).charts[0])
    assert bool(said) is not INDICATORS[name].in_store
    assert not said or "Prometheus only" in said or "no data yet: needs" in said


def test_what_is_not_evaluated_is_listed_and_says_why(tmp_path):
    free = {"total": 'requests_total{job="a"}', "bad": 'requests_total{job="a",code="500"}'}
    custom = {"name": "free", "promql": free, "false_alarm_every": 10**6, "baseline": "learnt",
              "cohorts": {"all": ["service.name"]}}
    version = chart("errors", "by_version", cohorts={"v": ["service.name", "service.version"]})
    made = spec(chart("cost"), custom, version, chart("thumbs_down"),
                canaries=[{"name": "canary", "indicators": ["errors"]}],
                limits=[{"name": "queue", "indicator": "oldest_unreviewed", "above": 3600}])
    with house(tmp_path / "s.db", made) as up:
        up.rate([(True, "1")])
        from backspan.server.charts import views

        with up.store.reading() as conn:
            shown = views.overview(conn, up.book, NOW)
    assert {one["name"]: one["why"] for one in shown["charts"]} == {
        "cost": "no data yet: needs the extra `cost` in the app", "free": "on free PromQL: Prometheus only",
        "by_version": "Prometheus only: the store does not keep service.version", "thumbs_down": ""}
    assert [one["name"] for one in shown["canaries"] if one["evaluated"]] == ["canary"]
    assert [one["why"] for one in shown["limits"]] == ["Prometheus only: the store keeps no gauges"]


def test_an_objective_has_a_budget(tmp_path):
    with house(tmp_path / "s.db", given(slo={"objective": 0.9, "period": "28d"})) as up:
        up.rate([(n < 3, "1") for n in range(100)])
        up.clock.now += 3600
        up.tick()
        up.rate([(n < 2, "1") for n in range(100)], first=1000)
        slo = up.cohort()["slo"]
        assert (slo["n"], slo["bad"], slo["allowed"]) == (200, 5, pytest.approx(20))
        assert (slo["remaining"], slo["burn_rate"]) == (pytest.approx(0.75), pytest.approx(0.25))


