"""Presidio beside our patterns: offline, with and without a model, and missing."""

from __future__ import annotations

import socket
import sys

import pytest

from backspan import _guard, config
from backspan import redact as redacting
from backspan.redact import REDACTED, _presidio, examine, policy

TEXT = "John Smith, ITIN 912-70-1234x, wallet 1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa, john@example.com"
SECOND = "550e8400-e29b-41d4-a716-446655440000 at 2026-01-01 on https://example.com/x"


@pytest.fixture
def asked(monkeypatch):
    """Set the variable; whoever opens a connection fails the test."""

    def refuse(*args, **kwargs):
        raise AssertionError("Presidio must not use the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)

    def ask(value: str) -> None:
        monkeypatch.setenv("BACKSPAN_REDACT_PRESIDIO", value)
        config.reload()
        redacting.reload()

    yield ask
    redacting.reload()


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A model of spaCy's, small as can be: it knows one name."""
    spacy = pytest.importorskip("spacy", reason="needs the extra `pii`")
    pipeline = spacy.blank("en")
    ruler = pipeline.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PERSON", "pattern": "John Smith"}])
    folder = tmp_path_factory.mktemp("model") / "en_one_name"
    pipeline.to_disk(folder)
    return str(folder)


def test_patterns_without_a_model(asked, caplog):
    pytest.importorskip("presidio_analyzer", reason="needs the extra `pii`")
    without = policy()
    asked("1")
    said, found = examine(TEXT)
    assert said == "John Smith, ITIN 912-70-1234x, wallet [crypto], [email]"
    assert found == (("crypto", 1), ("email", 1))
    assert examine(said) == (said, ())
    assert examine(SECOND) == (SECOND, ())
    assert policy() != without
    assert not [record for record in caplog.records if record.name == "backspan"]


def test_names_with_a_model(asked, model):
    asked(model)
    said, found = examine(TEXT)
    assert said.startswith("[person], ITIN")
    assert found == (("crypto", 1), ("email", 1), ("person", 1))
    assert examine("[John Smith] wrote [email]") == ("[[person]] wrote [email]", (("person", 1),))


def test_a_model_that_is_not_installed_is_said_once_and_not_fetched(asked, caplog):
    pytest.importorskip("presidio_analyzer", reason="needs the extra `pii`")
    asked("en_core_web_nowhere")
    for at in range(3):
        assert examine(f"{at} {TEXT}")[0].startswith(f"{at} John Smith")
    assert [record.getMessage() for record in caplog.records if record.name == "backspan"] == [
        "backspan: BACKSPAN_REDACT_PRESIDIO names the spaCy model 'en_core_web_nowhere', which is not installed; "
        "names and places are not recognised"]


def test_without_the_extra_ours_go_on(asked, monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    asked("1")
    for at in range(3):
        assert examine(f"{at} john@example.com")[0] == f"{at} [email]"
    assert [record.getMessage() for record in caplog.records] == [
        "backspan: BACKSPAN_REDACT_PRESIDIO needs the extra: pip install 'backspan[pii]'; masking goes on with "
        "backspan's own patterns"]


@pytest.mark.parametrize("word", ["", "0", "off", "false"])
def test_off(asked, word, monkeypatch):
    monkeypatch.setitem(sys.modules, "presidio_analyzer", None)
    asked(word)
    assert examine("john@example.com")[0] == "[email]"
    assert not _guard.failures()


def test_when_it_fails_the_text_is_lost(asked, monkeypatch):
    monkeypatch.delenv("BACKSPAN_RAISE")
    monkeypatch.setattr(_presidio, "load", lambda asked: (lambda text, found: 1 / 0, "broken"))
    asked("1")
    assert examine("hello") == (REDACTED, (("redacted", 1),))
    assert _guard.failures() == {"redact.presidio": 1}


class _Result:
    def __init__(self, start, end, kind):
        self.start, self.end, self.entity_type = start, end, kind


@pytest.mark.parametrize(("results", "said"), [
    ([(0, 4, "PERSON"), (2, 8, "LOCATION")], "[person] ij"), ([(0, 8, "PERSON"), (2, 4, "LOCATION")], "[person] ij"),
    ([(0, 2, "PERSON"), (9, 11, "PERSON")], "[person]cdefgh [person]"), ([(0, 8, "DATE_TIME")], "abcdefgh ij"),
])
def test_what_overlaps_is_masked_as_one(results, said):
    class Analyzer:
        def analyze(self, text, language):
            return [_Result(*result) for result in results]

    assert _presidio._masked(Analyzer(), "abcdefgh ij", {}) == said
