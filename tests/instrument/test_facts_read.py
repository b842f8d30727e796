"""How headers and names of models are read."""

from __future__ import annotations

import pytest

from backspan.instrument import _facts


def test_names_of_headers_in_any_case_and_the_better_id_wins():
    class Kept:
        attributes: dict = {}

    _facts.take_headers(Kept, [(b"Request-Id", b"c"), (b"X-Request-ID", b"a"), (b"apim-request-id", b"b"),
                               (b"X-RateLimit-Remaining-Tokens", b"soon")])
    assert Kept.attributes == {"backspan.request.id": "a"}


@pytest.mark.parametrize("asked, served, differs", [
    ("gpt-4o", "gpt-4o-2024-08-06", False), ("gpt-4o-2024-08-06", "gpt-4o", False), ("gpt-4o", "gpt-4o", False),
    ("gpt-4o", "gpt-4o-mini-2024-07-18", True), ("gpt-4o-mini", "gpt-4o", True), ("gpt-4", "gpt-4.1", True),
    ("openai/gpt-4o", "gpt-4o", False), ("llama3", "llama3:latest", False), ("llama3", "llama3.1", True),
    ("chatgpt-4o-latest", "chatgpt-4o-2025-01-29", False), ("gpt-4", "gpt-4-0613", False),
    ("openrouter/auto", "anthropic/claude-sonnet-4", True), ("m:novita", "m", False), ("claude-3", "claude-3-5-sonnet",
                                                                                      True),
])
def test_whether_another_model_answered(asked, served, differs):
    assert _facts.differs(asked, served) is differs
