"""What reaches the terminal, and what a log file."""

from __future__ import annotations

import io

import pytest

from backspan.cli._demo import screen


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _plain(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


def test_colour_is_for_terminals_unless_told_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    assert (True, False) == (screen.wants_colour(Terminal()), screen.wants_colour(io.StringIO()))
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert screen.wants_colour(io.StringIO())
    monkeypatch.setenv("NO_COLOR", "1")
    assert not screen.wants_colour(Terminal())


def test_a_terminal_gets_one_line_redrawn() -> None:
    stream = Terminal()
    progress = screen.Progress(stream)
    progress.update(1, 2, "half")
    progress.update(2, 2, "whole")
    assert "\n" not in stream.getvalue()
    assert stream.getvalue().count("\r") == 2


def test_a_log_gets_a_line_every_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    stream, now = io.StringIO(), [100.0]
    monkeypatch.setattr("backspan.cli._demo.screen.time.monotonic", lambda: now[0])
    progress = screen.Progress(stream)
    for step in range(10):
        now[0] += 1
        progress.update(step, 10, "steps")
    assert ["  0/10 steps", "  3/10 steps", "  6/10 steps", "  9/10 steps"] == stream.getvalue().splitlines()
