"""``backspan feedback outcomes`` and ``calibrate`` on a real database, as words and as JSON."""

import json
import time

import pytest

from backspan import config
from backspan.cli import main
from backspan.context import Target
from backspan.feedback.model import feedback_id
from backspan.loop.calibrate import read
from backspan.store import Call, Policy, Retention, Store, Vote, outcomes, sqlite_url


def _vote(number, name, up, **fields):
    target = Target(trace_id=f"{number:032x}", span_id=f"{number:016x}")
    return Vote(feedback_id(target, name, "u"), name, time.time(), value=float(up),
                polarity="positive" if up else "negative", trace_id=target.trace_id, span_id=target.span_id, rater="u",
                **fields)


@pytest.fixture
def db(tmp_path, monkeypatch):
    """A gateway's database with 120 turns; thumbs go with copies, and with outcomes."""
    monkeypatch.setenv("BACKSPAN_DATA_DIR", str(tmp_path))
    config.reload()
    path, now = tmp_path / "gateway.db", time.time()
    store = Store(sqlite_url(path), identify=feedback_id, policy=Policy(False, False), keep=Retention(None, None, None))
    store.put_spans([Call(f"{n:032x}", f"{n:016x}", "chat", now - 50, now - 40, service="s", consent="analytics",
                          join_key=f"k{n}") for n in range(1, 121)]).result()
    store.put_votes([_vote(n, "user_thumbs", n <= 70) for n in range(1, 121)]).result()
    store.put_votes([_vote(n, "implicit_copy", True, source="implicit") for n in (*range(1, 51), 110)]).result()
    told = [outcomes.Outcome(f"o{n}", "outcome_solved", "positive" if n <= 60 else "negative", now, float(n <= 60),
                             join_key=f"k{n}") for n in range(1, 121)]
    store.work(lambda batch: outcomes.accept(batch, told, store.identify)).result()
    store.close()
    yield str(path)
    monkeypatch.undo()
    config.reload()


def test_votes_against_outcomes(db, capsys):
    assert main(["feedback", "outcomes", "--db", db, "--json"]) == 0
    [one] = json.loads(capsys.readouterr().out)["outcomes"]
    assert (one["name"], one["votes"]["verdict"], one["votes"]["up"]["good"]) == ("outcome_solved", "better", 60)
    assert main(["feedback", "outcomes", "--db", db, "--name", "solved"]) == 0
    said = capsys.readouterr().out
    assert "the first row ends better" in said and "with a model" in said and "too few to say" in said
    assert main(["feedback", "outcomes", "--db", db, "--name", "nothing"]) == 0
    assert "no outcomes since" in capsys.readouterr().out


def test_calibrate_writes_what_the_worker_reads(db, tmp_path, capsys):
    assert main(["feedback", "calibrate", "--dry-run"]) == 0
    assert not (tmp_path / "weights.json").exists() and "nothing written" in capsys.readouterr().out
    assert main(["feedback", "calibrate", "--db", db]) == 0
    said, weights = capsys.readouterr().out, read(tmp_path / "weights.json")
    assert "copy:positive" in said and weights.version in said and "AUC" in said
    assert weights.signals["copy:positive"].good == 50 and weights.auc.value > 0.7
    assert main(["feedback", "calibrate", "--json", "--out", str(tmp_path / "other.json")]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == weights.version == read(tmp_path / "other.json").version


def test_too_few_votes_are_no_calibration(db, tmp_path, capsys):
    assert main(["feedback", "calibrate", "--least", "121"]) == 1
    assert "120 judged answers, and 121 are wanted" in capsys.readouterr().out
    assert main(["feedback", "calibrate", "--db", str(tmp_path / "none.db")]) == 2
    assert not (tmp_path / "weights.json").exists()
