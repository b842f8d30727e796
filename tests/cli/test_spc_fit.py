"""Phase I without a server: screening with reasons, warnings, the file of baselines."""

from __future__ import annotations

import io
from math import cos, pi
from random import Random

import pytest
import yaml
from tests.cli.spc_history import spec

from backspan import semconv
from backspan.cli._spc import baselines, reasons
from backspan.cli._spc.baselines import Baseline
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.history import Window
from backspan.cli._spc.phase_one import hours, study
from backspan.spc.baseline import Learner
from backspan.spc.shiryaev import BINOMIAL
from backspan.spc.simulate import binomial

SPEC = spec()
CHART = SPEC.charts[0]
COHORT = ("service", ((semconv.SERVICE_NAME, "chat"),))
HOUR = 3600


def windows(count=200, n=60, p=0.08, seed=14, swing=0.0, wave=0.0, bad=()):
    random, found = Random(seed), []
    for i in range(count):
        share = p * (1 + swing * cos(2 * pi * (i % 24) / 24) + wave * cos(2 * pi * i / 100))
        found.append(Window(i * HOUR, n, binomial(n, round(share, 4))(random)))
    for i, x in bad:
        found[i] = Window(i * HOUR, n, x)
    return found


def no_reason(window, limits):
    return ""


def test_a_clean_history_is_the_learners():
    report = study(CHART, windows(), no_reason)
    assert report.fit == Learner.of([(w.n, w.bad) for w in windows()]).fit(BINOMIAL)
    assert report.warnings == () and report.out == () and report.pattern > 0.01
    assert (report.first, report.last) == (0, 200 * HOUR)


def test_points_out_stay_unless_somebody_says_why():
    odd = windows(bad=[(50, 30), (51, 28)])
    kept = study(CHART, odd, no_reason)
    assert [p.window.start for p in kept.kept] == [50 * HOUR, 51 * HOUR] and kept.excluded == []
    out = study(CHART, odd, lambda window, limits: "index was empty" if window.start == 50 * HOUR else "")
    assert [p.window.start for p in out.excluded] == [50 * HOUR] and out.fit.n == 199 * 60
    assert kept.fit.p_hat > out.fit.p_hat > study(CHART, windows(), no_reason).fit.p_hat
    assert kept.fit.phi > 1 and any("clusters" in warning for warning in kept.warnings)


def test_at_most_two_passes():
    asked = []

    def always(window, limits):
        asked.append(window.start)
        return "gone"

    report = study(CHART, windows(bad=[(10, 40), (20, 20), (30, 14)]), always)
    assert len(asked) == len(set(asked)) and {10 * HOUR, 20 * HOUR} <= {p.window.start for p in report.excluded}
    assert report.fit.windows >= 190


def test_a_rate_that_wanders_slowly_is_warned_of():
    report = study(CHART, windows(wave=0.7, n=200), no_reason)
    assert report.sd > 1.15 * report.sigma_z and report.fit.r1 > 0.2
    assert any("wanders" in warning for warning in report.warnings)


def test_a_pattern_of_the_day_is_found_and_clustering_is_not_taken_for_one():
    report = study(CHART, windows(count=480, swing=0.5, n=100), no_reason)
    assert report.pattern < 0.001 and report.busiest[0] in (22, 23, 0, 1, 2)
    assert any("hour of the day" in warning for warning in report.warnings)
    assert study(CHART, windows(count=480, n=100), no_reason).pattern > 0.001
    strict, _ = hours(BINOMIAL, windows(count=480, swing=0.5, n=100), 0.08, 1.0)
    loose, _ = hours(BINOMIAL, windows(count=480, swing=0.5, n=100), 0.08, 30.0)
    assert strict < 0.001 < loose
    assert hours(BINOMIAL, windows(count=1), 0.08, 1.0) == (None, None)


# --- reasons --------------------------------------------------------------------------------------------------------
def asked(given, start, *, ask=False, cohort=COHORT, width=HOUR):
    book = reasons.Reasons(given, ask)
    window = Window(start, 60, 30)
    return book.for_cohort(CHART, cohort)(window, study(CHART, windows(), no_reason) and _limits()), book


def _limits():
    from backspan.spc.points import Limits

    return Limits(0.0, 0.08, 0.18)


def test_a_flag_covers_the_window_that_holds_it():
    one = reasons.flag("1970-01-01T02:30Z=index was empty")
    assert asked([one], 2 * HOUR)[0] == "index was empty" and asked([one], 3 * HOUR)[0] == ""
    many = reasons.flag("1970-01-01T02:00Z..1970-01-01T04:00Z=a=b")
    assert [asked([many], i * HOUR)[0] for i in (1, 2, 3, 4)] == ["", "a=b", "a=b", ""]


def test_what_met_no_window_is_reported():
    _, book = asked([reasons.flag("1970-01-01T09:00Z=x"), reasons.flag("1970-01-01T02:00Z=y")], 2 * HOUR)
    assert [exclusion.reason for exclusion in book.unused()] == ["x"]


@pytest.mark.parametrize("text", ["2026-01-01", "2026-01-01=", "=why", "soon=why", "2026-01-02..2026-01-01=why"])
def test_bad_flags(text):
    with pytest.raises(Fault, match="--exclude"):
        reasons.flag(text)


def test_a_file_of_reasons(tmp_path):
    path = tmp_path / "reasons.yml"
    path.write_text("- {start: 1970-01-01T02:00:00Z, reason: index was empty, chart: thumbs_down}\n"
                    "- {start: 1970-01-01 05:00, end: 1970-01-01 07:00, reason: x, cohort: {service.name: other}}\n")
    given = reasons.file(path)
    assert asked(given, 2 * HOUR)[0] == "index was empty" and asked(given, 5 * HOUR)[0] == ""
    other = ("service", ((semconv.SERVICE_NAME, "other"),))
    assert asked(given, 6 * HOUR, cohort=other)[0] == "x"


@pytest.mark.parametrize(
    "text",
    ["{}", "- 3", "- {start: 2026-01-01}", "- {reason: x}", "- {start: soon, reason: x}", "- [",
     "- {start: 2026-01-01, reason: x, why: y}", "- {start: 0, reason: x, cohort: 1}"],
)
def test_bad_files_of_reasons(tmp_path, text):
    path = tmp_path / "reasons.yml"
    path.write_text(text)
    with pytest.raises(Fault, match="--reasons"):
        reasons.file(path)


def test_a_missing_file_of_reasons(tmp_path):
    with pytest.raises(Fault, match="--reasons"):
        reasons.file(tmp_path / "none.yml")


def test_the_terminal_is_asked_once_per_window(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO("index was\tempty\n\n-\n"))
    book = reasons.Reasons([], ask=True)
    ask, window = book.for_cohort(CHART, COHORT), Window(2 * HOUR, 60, 30)
    assert ask(window, _limits()) == "index was empty"
    assert ask(window, _limits()) == "index was empty"  # the answer before, offered again
    assert ask(window, _limits()) == ""
    said = capsys.readouterr().err
    assert "30 of 60 (50.0%), limits 0.0% to 18.0%" in said and "[index was empty]" in said


# --- baselines.yml --------------------------------------------------------------------------------------------------
PROMPT = ("prompt", ((semconv.PROMPT_NAME, "a \"b\"\\c"), (semconv.PROMPT_VERSION, "2"), (semconv.SERVICE_NAME, "ünï")))
BOOK = [Baseline("thumbs_down", COHORT, 0.0829, 1.25, comments=("from 2,500 ratings", "left out x: y")),
        Baseline("thumbs_down", PROMPT, 0.1, 1.0, "rebased", "new tone: agreed")]


def test_the_file_reads_back_and_keeps_its_comments(tmp_path):
    path = tmp_path / "baselines.yml"
    text = baselines.write(SPEC, BOOK)
    path.write_text(text, encoding="utf-8")
    found = baselines.read(path, SPEC)
    assert list(found.values()) == sorted(BOOK, key=lambda b: b.cohort)
    assert baselines.write(SPEC, found.values()) == text
    [group] = yaml.safe_load(text)["groups"]
    assert (group["name"], group["interval"]) == ("backspan_spc_baselines", "15s")
    assert [rule["record"] for rule in group["rules"]] == ["spc:baseline_p0", "spc:baseline_phi"] * 2
    labels = group["rules"][0]["labels"]
    assert (labels["partition"], labels["phase"], labels["reason"]) == ("prompt", "rebased", "new tone: agreed")
    assert labels["gen_ai_prompt_name"] == 'a "b"\\c' and labels["service_name"] == "ünï"
    assert group["rules"][2]["expr"] == "vector(0.0829)"


def test_a_persons_own_comment_stays(tmp_path):
    path = tmp_path / "baselines.yml"
    text = baselines.write(SPEC, BOOK).replace("  # left out x: y", "  # left out x: y\n  # talked about on Tuesday")
    path.write_text(text, encoding="utf-8")
    book = baselines.read(path, SPEC)
    book["thumbs_down", PROMPT] = Baseline("thumbs_down", PROMPT, 0.05, 1.0)
    assert "  # talked about on Tuesday\n  - record" in baselines.write(SPEC, book.values())


def test_no_file_is_an_empty_book(tmp_path):
    assert baselines.read(tmp_path / "none.yml", SPEC) == {}
    (tmp_path / "empty.yml").write_text("# nothing yet\n")
    assert baselines.read(tmp_path / "empty.yml", SPEC) == {}


GOOD = baselines.write(SPEC, BOOK)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("backspan_spc_baselines", "other", "is not a file of"),
        ("groups:", "rules:", "is not a file of"),
        ("vector(0.0829)", "vector(0.0829) * 2", "no baseline"),
        ("vector(0.0829)", "vector(0)", "no rate"),
        ("vector(0.0829)", "vector(1e999)", "no rate"),
        ("vector(0.0829)", "vector(1e)", "no rate"),
        ('chart: "thumbs_down"', 'chart: "stars"', "not in the spec"),
        ('partition: "service"', 'partition: "team"', "no partition 'team'"),
        ('phase: "frozen"', 'phase: "alarm"', "must be frozen or rebased"),
        ("groups:", "groups: [", "is not YAML"),
        ("spc:baseline_p0", "spc:p0", "no baseline"),
    ],
)
def test_a_file_that_is_not_ours_is_refused(tmp_path, old, new, said):
    path = tmp_path / "baselines.yml"
    path.write_text(GOOD.replace(old, new), encoding="utf-8")
    with pytest.raises(Fault, match=said):
        baselines.read(path, SPEC)
