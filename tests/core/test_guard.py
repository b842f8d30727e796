"""Our faults are logged once, counted, and never reach the application."""

import logging

import pytest

from backspan import _guard


@pytest.fixture
def swallowing(monkeypatch):
    monkeypatch.setenv("BACKSPAN_RAISE", "0")


@_guard.guarded
def broken(text):
    raise ValueError(text)


def test_a_fault_is_swallowed_counted_and_said_once_without_content(swallowing, caplog):
    with caplog.at_level(logging.WARNING, "backspan"):
        assert broken("the user's prompt") is None
        assert broken("the user's prompt") is None
    assert sum(_guard.failures().values()) == 2
    assert len(caplog.records) == 1
    assert "ValueError" in caplog.text
    assert "prompt" not in caplog.text


def test_a_block_can_be_guarded(swallowing):
    with _guard.guard("here"):
        raise KeyError("x")
    assert _guard.failures() == {"here": 1}


def test_an_exception_that_ends_the_program_is_not_ours(swallowing):
    with pytest.raises(KeyboardInterrupt), _guard.guard("here"):
        raise KeyboardInterrupt


def test_our_tests_see_our_faults():
    with pytest.raises(ValueError, match="loud"):
        broken("loud")
