"""What the demo asks of a running `up` while spans are still on their way to it."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace
from typing import Any, cast

import pytest

from backspan.cli._demo import story
from backspan.cli._demo.cast import Cast

VOTE = {"turn_id": "t", "name": "user_thumbs", "polarity": "negative", "source": "end_user", "reasons": [],
        "correction": None}
TURN = {"turn_id": "t", "query": "How long?", "answer": "Two years.", "conversation_id": "c", "feedback": [VOTE]}
THERE = {"feedback": [VOTE], "turns": [TURN]}
ON_THE_WAY = {"feedback": [{**VOTE, "turn_id": None}], "turns": []}
NO_ANSWER_YET = {"feedback": [VOTE], "turns": [{**TURN, "answer": ""}]}


@contextmanager
def up(*answers: dict[str, Any]) -> Iterator[Cast]:
    """A server that knows more with every request; the last it says for ever."""
    left = list(answers)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps(left.pop(0) if len(left) > 1 else left[0]).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield cast("Cast", SimpleNamespace(up=SimpleNamespace(url=f"http://127.0.0.1:{server.server_port}")))
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.parametrize("before", [[], [ON_THE_WAY], [ON_THE_WAY] * 2, [NO_ANSWER_YET] * 2, [ON_THE_WAY] * 5],
                         ids=["there", "between two questions", "after two", "without its answer", "after five"])
def test_the_worst_turns_are_found_whenever_their_spans_come(before: list[dict[str, Any]]) -> None:
    with up(*before, THERE) as cast_of:
        assert [turn["turn_id"] for turn in story._worst_turns(cast_of, "v2")] == ["t"]


def test_spans_that_do_not_come_are_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin."""
    monkeypatch.setattr(story, "_ARRIVE_S", 0.0)
    with up(ON_THE_WAY) as cast_of, pytest.raises(story.Unexpected, match="spans of 1 judged answers"):
        story._worst_turns(cast_of, "v2")
