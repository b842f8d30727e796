"""``backspan store``: a key, and sealing a database with it while a gateway's rows stay readable."""

import json

import pytest
from tests.store.conftest import KEEP_ALL, chat, put_spans
from tests.support import databases

from backspan import config
from backspan.cli import main
from backspan.feedback.model import feedback_id
from backspan.store import Policy, Store, reads, sealing

pytestmark = pytest.mark.sqlite


@pytest.fixture
def place(tmp_path, monkeypatch):
    where = tmp_path / "gateway.db"
    store = Store(databases.at(where), identify=feedback_id, policy=Policy(True, False), keep=KEEP_ALL)
    put_spans(store, [chat(answer="MARKER")])
    store.close()
    monkeypatch.setenv("BACKSPAN_DATA_DIR", str(tmp_path))
    config.reload()
    return where


def call(capsys, *arguments):
    code = main(["store", *arguments])
    said = capsys.readouterr()
    return code, said.out, said.err


def use(monkeypatch, *keys):
    monkeypatch.setenv("BACKSPAN_FIELD_KEYS", ",".join(keys))
    config.reload()


def test_a_key_is_one_that_seals(capsys):
    code, out, _ = call(capsys, "key")
    assert code == 0 and sealing.Ring((out.strip(),)).ids
    assert out != call(capsys, "key")[1]


def test_plain_texts_are_told_then_sealed(place, monkeypatch, capsys):
    use(monkeypatch, sealing.new_key())
    code, out, _ = call(capsys, "encrypt", "--dry-run")
    assert code == 1 and "calls: 1 rows, 2 texts to seal" in out and b"MARKER" in place.read_bytes()
    code, out, _ = call(capsys, "encrypt", "--db", str(place), "--json")
    assert code == 0 and json.loads(out)["tables"]["turns"] == {"rows": 1, "sealed": 2, "damaged": 0}
    assert call(capsys, "encrypt", "--dry-run")[0] == 0


@pytest.mark.parametrize("keys", [(), ("nonsense",)])
def test_without_a_key_it_says_so(place, monkeypatch, capsys, keys):
    use(monkeypatch, *keys)
    code, out, err = call(capsys, "encrypt")
    assert code == 2 and out == "" and "BACKSPAN_FIELD_KEYS" in err


def test_a_database_that_is_not_there(tmp_path, monkeypatch, capsys):
    use(monkeypatch, sealing.new_key())
    code, _, err = call(capsys, "encrypt", "--db", str(tmp_path / "none.db"))
    assert code == 2 and "there is no file" in err


# --- erasures ---------------------------------------------------------------------------------------------------------
ANNA = {"what": "erase", "rater": "anna", "time": 1_000.0}
BERT = {"what": "withdraw", "rater": "bert", "time": 2_000.0}


def lines(*said):
    return "".join(json.dumps(one) + "\n" for one in said)


def test_what_a_database_knows_of_is_printed_and_not_done_twice(place, tmp_path, capsys):
    (tmp_path / "known").write_text(lines(ANNA, BERT, {**ANNA, "time": 500.0}) + "\n")
    assert call(capsys, "erasures") == (0, "", "")
    assert call(capsys, "replay", str(tmp_path / "known"), "--dry-run")[0] == 1
    assert call(capsys, "erasures") == (0, "", "")
    code, out, _ = call(capsys, "replay", str(tmp_path / "known"))
    assert (code, out) == (0, "done: 1 erasures, 1 withdrawals; 0 known already\n")
    assert [json.loads(line) for line in call(capsys, "erasures")[1].splitlines()] == [ANNA, BERT]
    code, out, _ = call(capsys, "replay", str(tmp_path / "known"), "--json")
    assert (code, json.loads(out)) == (0, {"dry_run": False, "known": 2, "erase": 0, "withdraw": 0})
    assert call(capsys, "replay", str(tmp_path / "known"), "--dry-run")[0] == 0


def test_a_later_wish_of_the_same_person_is_carried_out(place, tmp_path, capsys):
    for time in (500.0, 1_000.0):
        (tmp_path / "known").write_text(lines({**ANNA, "time": time}))
        assert "1 erasures" in call(capsys, "replay", str(tmp_path / "known"))[1]
    assert [json.loads(line) for line in call(capsys, "erasures")[1].splitlines()] == [ANNA]


def test_what_was_taken_back_is_taken_back_again(place, tmp_path, capsys):
    store = Store(databases.at(place), identify=feedback_id, policy=Policy(True, False), keep=KEEP_ALL)
    put_spans(store, [chat("7" * 16, "7" * 32, user_id="bert", query="SECRET of bert")])
    store.close()
    (tmp_path / "known").write_text(lines({**BERT, "time": 4e9}))
    assert call(capsys, "replay", str(tmp_path / "known"))[0] == 0
    store = Store(databases.at(place), identify=feedback_id, policy=Policy(True, False), keep=KEEP_ALL)
    with store.reading() as conn:
        rows, _ = reads.list_turns(conn, trace_id="7" * 32)
    store.close()
    assert [(row["user_id"], row["query"]) for row in rows] == [("bert", "")]


@pytest.mark.parametrize("line", ["nonsense", "[]", "{}", "\xff", *(lines({**ANNA, **wrong}) for wrong in (
    {"what": "forget"}, {"rater": ""}, {"time": "now"}, {"time": True}))])
def test_a_line_that_is_none_is_told_and_nothing_is_done(place, tmp_path, capsys, line):
    (tmp_path / "known").write_bytes((lines(ANNA) + line).encode("latin-1"))
    code, out, err = call(capsys, "replay", str(tmp_path / "known"))
    assert (code, out) == (2, "") and err.startswith("backspan store: ")
    assert call(capsys, "erasures") == (0, "", "")


def test_a_file_that_is_not_there(place, tmp_path, capsys):
    code, _, err = call(capsys, "replay", str(tmp_path / "none"))
    assert code == 2 and "none" in err
