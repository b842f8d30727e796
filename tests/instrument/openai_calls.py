"""One call of every resource that runs a model, for tests that must hold for all of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SECRET = "marker-of-the-user"


@dataclass(frozen=True)
class Row:
    """How to call a resource, and what its span is called. ``resource`` is the path of attributes on a client."""

    resource: str
    method: str
    arguments: dict[str, Any]
    span: str
    tokens: tuple[int, int] | None = None
    streams: bool = True
    answers: bool = True
    model: bool = True

    @property
    def id(self) -> str:
        """A name for the test."""
        return f"{self.resource}.{self.method}"

    def on(self, client: Any) -> Callable[..., Any]:
        """The method, bound."""
        return getattr(self.of(client), self.method)

    def of(self, client: Any) -> Any:
        """The resource of ``client``."""
        for name in self.resource.split("."):
            client = getattr(client, name)
        return client

    def asked(self, **more: Any) -> dict[str, Any]:
        """Arguments; files are new each time, as they are read once."""
        made = {key: value() if callable(value) else value for key, value in self.arguments.items()}
        return {**made, **more}


def _file() -> tuple[str, io.BytesIO]:
    return "a.wav", io.BytesIO(SECRET.encode())


ROWS = (
    Row("completions", "create", {"model": "m", "prompt": f"one {SECRET}"}, "text_completion m", (2, 3)),
    Row("images", "generate", {"model": "m", "prompt": f"a {SECRET}"}, "generate_content m", (4, 7)),
    Row("images", "edit", {"model": "m", "prompt": f"a {SECRET}", "image": _file}, "generate_content m", (4, 7)),
    Row("images", "create_variation", {"model": "m", "image": _file}, "generate_content m", (2, 7), streams=False),
    Row("audio.speech", "create", {"model": "m", "input": SECRET, "voice": "alloy"}, "speech m", streams=False,
        answers=False),
    Row("audio.transcriptions", "create", {"model": "m", "prompt": SECRET, "file": _file}, "transcription m", (3, 7),
        answers=False),
    Row("audio.translations", "create", {"model": "m", "prompt": SECRET, "file": _file}, "translation m", (3, 7),
        streams=False, answers=False),
    Row("moderations", "create", {"model": "m", "input": SECRET}, "moderation m", streams=False, answers=False),
    Row("decisions", "create", {"model": "m", "input": SECRET, "questions": []}, "decision m", (5, 1), streams=False,
        answers=False),
    Row("vector_stores", "search", {"vector_store_id": "vs_1", "query": SECRET}, "retrieval vs_1", streams=False,
        answers=False, model=False),
    Row("beta.threads.runs", "create", {"thread_id": "thread_1", "assistant_id": "asst_1", "model": "m",
                                        "additional_instructions": SECRET}, "invoke_agent"),
    Row("beta.threads", "create_and_run", {"assistant_id": "asst_1", "model": "m", "thread": {
        "messages": [{"role": "user", "content": SECRET}]}}, "invoke_agent"),
    Row("beta.threads.runs", "submit_tool_outputs", {"thread_id": "thread_1", "run_id": "run_1", "tool_outputs": []},
        "invoke_agent", model=False),
    Row("videos", "create", {"model": "m", "prompt": SECRET}, "generate_content m", streams=False, answers=False),
)
