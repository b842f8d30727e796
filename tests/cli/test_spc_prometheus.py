"""`backspan spc` against a real Prometheus that was filled with a past of which the truth is known."""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from tests.cli.spc_history import DAY, HOUR, START, Past, backfill, past, spec
from tests.support.prometheus import NEW, OLD, Prometheus, until

from backspan import cli, semconv
from backspan.cli._spc import recorded
from backspan.cli._spc.alerts import fingerprint
from backspan.cli._spc.http import Api
from backspan.cli._spc.prometheus import Prometheus as Client
from backspan.rules.oracle_counting import labels_of

pytestmark = pytest.mark.stack

DAYS, RELEASE = 5, 4
BAD_HOURS = {50: 0.5, 51: 0.5, 60: 0.45}
SPEC = """
version: 1
charts:
  - name: thumbs_down
    indicator: thumbs_down
    cohorts:
      service: [service.name, deployment.environment.name]
      prompt: [service.name, deployment.environment.name, gen_ai.prompt.name, gen_ai.prompt.version]
    false_alarm_every: 20000
    baseline: learnt
"""


@pytest.fixture(scope="module")
def made() -> Past:
    return past(DAYS, release=RELEASE, bad_hours=BAD_HOURS, restart=2.3)


@pytest.fixture(scope="module", params=[OLD, NEW])
def server(request, made, tmp_path_factory) -> Generator[Prometheus]:
    running = backfill(tmp_path_factory.mktemp("prometheus"), made, request.param)
    yield running
    running.stop()


@pytest.fixture
def base(server, tmp_path) -> list[str]:
    path = tmp_path / "spc.yaml"
    path.write_text(SPEC)
    return ["--prometheus", server.url, "--spec", str(path)]


PERIOD = ["--since", str(START), "--until", str(START + DAYS * DAY)]


def run(capsys, *arguments, code=0):
    assert cli.main(["spc", *arguments]) == code
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return said.out


def as_json(capsys, *arguments, code=0):
    return json.loads(run(capsys, *arguments, "--json", code=code))


# --- counting -------------------------------------------------------------------------------------------------------
def test_every_window_holds_exactly_what_was_rated(server, made):
    """Through a restart of the app and the birth of a version, against the truth."""
    of = spec()
    history = recorded.read(Client(Api(server.url)), of, of.charts[0], START, made.end)
    assert "raw counters every 60 s" in history.source and history.gaps == []
    for cohort in history.batches:
        found = {round((w.start - START) / HOUR): [w.n, w.bad] for w in history.windows(cohort)}
        version = dict(cohort[1]).get(semconv.PROMPT_VERSION)
        truth: dict[int, list[float]] = {}
        for (said, hour), (n, bad) in made.truth.items():
            if version in (None, said):
                cell = truth.setdefault(hour, [0, 0])
                cell[0], cell[1] = cell[0] + n, cell[1] + bad
        assert found == {hour: cell for hour, cell in truth.items() if cell[0]}
    assert len(history.batches) == 3


def test_a_coarser_step_counts_the_same(server, made):
    of = spec()
    chart, client = of.charts[0], Client(Api(server.url))
    fine, coarse = (recorded.read(client, of, chart, START, made.end, step=step) for step in (60, 300))
    assert {c: fine.windows(c) for c in fine.batches} == {c: coarse.windows(c) for c in coarse.batches}


def test_gaps_are_said(server, made):
    history = recorded.read(Client(Api(server.url)), spec(), spec().charts[0], START, made.end + DAY)
    [(begin, end)] = history.gaps
    assert begin == pytest.approx(made.end + 300, abs=61) and end == made.end + DAY


# --- fit ------------------------------------------------------------------------------------------------------------
def test_fit_writes_a_rule_file_that_prometheus_takes(server, base, tmp_path, capsys):
    out = tmp_path / "rules" / "baselines.yml"
    arguments = ["fit", *base, "--since", str(START), "--until", str(START + RELEASE * DAY), "--out", str(out)]
    when = f"{START + 50 * HOUR}..{START + 52 * HOUR}"
    found = as_json(capsys, *arguments, "--exclude", f"{when}=index was empty")
    assert found["written"] == str(out)
    by = {row["partition"]: row for row in found["cohorts"]}
    assert set(by) == {"service", "prompt", "prompt_parent"} and {r["verdict"] for r in by.values()} == {"fitted"}
    service = by["service"]
    reasons = {row["start"]: row["reason"] for row in service["out_of_limits"]}
    assert list(reasons.values()).count("index was empty") == 2 and None in reasons.values()
    assert 0.07 < service["p_hat"] < service["p0"] < 0.1 and service["windows"] == RELEASE * 24 - 2
    rules = yaml.safe_load(out.read_text())
    assert "# left out 2026-01-03T02:00:00Z" in out.read_text()
    loaded = Prometheus(server.version, tmp_path / "second", {"baselines": rules})
    try:
        loaded.start()
        held = until(lambda: loaded.values('spc:baseline_p0{partition="service"}'), "the baseline", 60)
    finally:
        loaded.stop()
    assert list(held.values()) == [service["p0"]]


def test_fit_keeps_what_holds_unless_a_person_says_otherwise(base, tmp_path, capsys):
    out = tmp_path / "baselines.yml"
    good = ["fit", *base, "--since", str(START + 70 * HOUR), "--until", str(START + RELEASE * DAY), "--out", str(out),
            "--cohort", "partition=service", "--force"]
    assert as_json(capsys, *good)["cohorts"][0]["verdict"] == "fitted"
    before = out.read_text()
    worse = ["fit", *base, *PERIOD, "--out", str(out), "--cohort", "partition=service"]
    [row] = as_json(capsys, *worse, code=1)["cohorts"]
    assert row["verdict"] == "worse" and row["p0"] > row["before"]["p0"] and out.read_text() == before
    assert "accept it by --rebase --reason TEXT" in run(capsys, *worse, code=1)
    [row] = as_json(capsys, *worse, "--rebase", "--reason", "agreed with the product owner")["cohorts"]
    assert row["verdict"] == "rebased"
    assert 'phase: "rebased"' in out.read_text() and 'reason: "agreed with the product owner"' in out.read_text()


def test_too_little_is_refused_and_says_how_long_it_takes(base, tmp_path, capsys):
    out = tmp_path / "none.yml"
    arguments = ["fit", *base, "--since", str(START), "--until", str(START + 12 * HOUR), "--out", str(out)]
    said = run(capsys, *arguments, code=1)
    assert "of 2,500 ratings in 12 of 20 windows; at this volume about" in said and not out.exists()
    assert "accepted up to" in run(capsys, *arguments, "--force", "--dry-run") and not out.exists()


def test_an_exclusion_that_meets_nothing_is_said(base, tmp_path, capsys):
    arguments = ["fit", *base, *PERIOD, "--dry-run", "--exclude", f"{START + 5 * HOUR}=x", "--out", str(tmp_path / "b")]
    assert cli.main(["spc", *arguments]) == 0
    assert "no window out of limits holds 2026-01-01 05:00Z (x)" in capsys.readouterr().err


# --- backtest and show ----------------------------------------------------------------------------------------------
def test_backtest_finds_what_went_wrong(base, capsys):
    found = as_json(capsys, "backtest", *base, *PERIOD, "--shift", "2", "--places", "6", code=1)
    [chart] = found["charts"]
    service = [row for row in chart["alarms"] if row["partition"] == "service"]
    assert [row["fired"][:13] for row in service][0] == "2026-01-03T02"
    assert any(row["labels"].get(semconv.PROMPT_VERSION) == "v2" and row["phase"] == "inherited"
               for row in chart["alarms"])
    assert chart["learning"] >= 2500 and chart["promise"] == 20_000
    assert sum(chart["shift"]["not_tried"].values()) + len(chart["shift"]["delays"]) >= 6
    quiet = as_json(capsys, "backtest", *base, "--since", str(START + 70 * HOUR), "--until", str(START + 4 * DAY))
    assert quiet["charts"][0]["alarms"] == []


def test_backtest_with_a_fitted_baseline_watches_from_the_start(base, tmp_path, capsys):
    out = tmp_path / "baselines.yml"
    run(capsys, "fit", *base, "--since", str(START + 62 * HOUR), "--until", str(START + 4 * DAY), "--force", "--out",
        str(out))
    [chart] = as_json(capsys, "backtest", *base, *PERIOD, "--baselines", str(out), code=1)["charts"]
    assert chart["learning"] == 0
    assert [row["fired"][:13] for row in chart["alarms"] if row["partition"] == "service"][0] == "2026-01-03T02"
    said = run(capsys, "backtest", *base, *PERIOD, "--baselines", str(out), "--shift", "3", "--at",
               str(START + 90 * HOUR), code=1)
    assert "found in 1 of 1" in said and "promise" not in said.splitlines()[0] and "at most one false alarm" in said


def test_show(base, tmp_path, capsys):
    cohort = ["--cohort", "partition=service"]
    text = run(capsys, "show", *base, *PERIOD, *cohort, code=1)
    assert "p-chart: each event is bad or not" in text and "ALARM" in text and "phase alarm" in text
    path = tmp_path / "chart.svg"
    assert run(capsys, "show", *base, *PERIOD, *cohort, "--svg", str(path), code=1) == f"wrote {path}\n"
    assert ElementTree.parse(path).getroot().tag.endswith("svg")
    found = as_json(capsys, "show", *base, *PERIOD, "--cohort", "gen_ai.prompt.version=v1")
    assert len(found["points"]) == RELEASE * 24 and found["kind"] == "p"
    assert sum(p["out"] for p in found["points"]) >= 3


def test_simulate_from_what_was_measured(base, capsys):
    found = as_json(capsys, "simulate", *base, *PERIOD, "--runs", "10", "--shifts", "2")
    assert 55 < found["per_hour"] < 65 and 0.08 < found["p0"] < 0.13 and "raw counters" in found["source"]


def test_bad_questions_of_the_period(base, capsys):
    assert cli.main(["spc", "show", *base, *PERIOD, "--cohort", "service.name=nobody"]) == 2
    assert "no cohort is service.name=nobody" in capsys.readouterr().err
    assert cli.main(["spc", "show", *base, *PERIOD, "--cohort", "x"]) == 2
    assert cli.main(["spc", "show", *base, *PERIOD, "--window", "90s"]) == 2
    assert "--window: must be a multiple" in capsys.readouterr().err
    assert cli.main(["spc", "show", *base, *PERIOD, "--svg", "/no/such/folder/x.svg"]) == 2
    assert cli.main(["spc", "backtest", *base, *PERIOD, "--shift", "2", "--at", "2020-01-01"]) == 2
    assert "is not within the history" in capsys.readouterr().err
    assert cli.main(["spc", "backtest", *base, *PERIOD, "--baselines", "/no/such"]) == 2


# --- recorded -------------------------------------------------------------------------------------------------------
def test_where_the_raw_counters_are_gone_the_recorded_series_count(tmp_path, capsys):
    """Evaluations on the edges of the pages are counted once, in both versions."""
    for version in (OLD, NEW):
        made = Past(2)
        labels = {"chart": "thumbs_down", "partition": "service", "service_name": "chat"}
        for i in range(2 * DAY // 15):
            at = START + 15 * (i + 1)
            for name, value in (("spc:n", 2), ("spc:bad", i % 2)):
                made.series.setdefault((name, labels_of(labels)), []).append((at, value))
        folder = tmp_path / version
        running = backfill(folder, _plain(made), version)
        try:
            of = spec()
            history = recorded.read(Client(Api(running.url)), of, of.charts[0], START, made.end)
        finally:
            running.stop()
        [cohort] = history.batches
        assert "recorded spc:n" in history.source and {w.n for w in history.windows(cohort)} == {480}
        assert [len(history.windows(cohort)), sum(w.bad for w in history.windows(cohort))] == [48, DAY // 15]


def _plain(made: Past) -> Past:
    """As gauges: no ``_total`` after the name."""
    text = made.text
    made.text = lambda since, until: text(since, until).replace("_total{", "{").replace(" counter", " gauge")
    return made


# --- explain --------------------------------------------------------------------------------------------------------
LABELS = {"chart": "thumbs_down", "partition": "service", "service_name": "chat",
          "deployment_environment_name": "production", "severity": "page", "indicator": "thumbs_down"}


@pytest.fixture(scope="module")
def incident(tmp_path_factory) -> Generator[tuple[Prometheus, int, Path]]:
    """A release that went out eight hours ago, and an alert that fires about it."""
    start = int(time.time()) // HOUR * HOUR - 3 * DAY
    made = past(3, per_hour=100, release=3 - 8 / 24, worse=0.3, restart=None, start=start)
    rule = {"alert": "BackspanQualityRegression", "expr": "vector(12)", "labels": LABELS}
    rules = {"alerts": {"groups": [{"name": "a", "interval": "1s", "rules": [rule]}]}}
    folder = tmp_path_factory.mktemp("incident")
    (folder / "spc.yaml").write_text(SPEC)
    running = backfill(folder, made, NEW, rules)
    until(running.firing, "the alert", 60)
    yield running, made.end - 8 * HOUR, folder / "spc.yaml"
    running.stop()


def test_explain(incident, capsys):
    server, release, of = incident
    arguments = ["explain", "--prometheus", server.url, "--spec", str(of)]
    found = as_json(capsys, *arguments, "--before", "2d", code=1)
    assert found["alert"]["partition"] == "service" and found["causes"][0]["name"] == "change of prompt version"
    assert any("v2 was first rated at the change" in text for text in found["causes"][0]["for"])
    from backspan.cli._spc.times import instant

    assert instant(found["since"]) == pytest.approx(release, abs=1.5 * HOUR)
    facts = found["facts"]
    assert 0.25 < facts["rated"]["after"]["bad"] / facts["rated"]["after"]["n"] < 0.35
    assert facts["answers"][1] > 2000 and 'span.backspan.feedback.polarity="negative"' in found["traceql"]
    [mark] = {fingerprint({**one}) for one in server.firing()}
    assert found["alert"]["id"] == mark
    text = run(capsys, *arguments, mark, code=1)
    assert "1. change of prompt version" in text and "how many" in text and "change point" in text
    named = run(capsys, *arguments, "--labels", "service_name=chat", code=1)
    assert named.splitlines()[0] == text.splitlines()[0]


def test_explain_says_which_there_are(incident, capsys):
    server, _, of = incident
    arguments = ["spc", "explain", "--prometheus", server.url, "--spec", str(of)]
    assert cli.main([*arguments, "0123456789abcdef"]) == 2
    assert "no alert 0123456789abcdef; there are:" in capsys.readouterr().err
    assert cli.main([*arguments, "--tempo", "http://127.0.0.1:1"]) == 1
    assert "  traces     could not be had: http://127.0.0.1:1 does not answer" in capsys.readouterr().out


def test_explain_where_nothing_fires(base, capsys):
    assert run(capsys, "explain", *base) == "no quality alert fires\n"
    assert as_json(capsys, "explain", *base) == {"firing": [], "past": []}
