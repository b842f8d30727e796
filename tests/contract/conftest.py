"""The contract is tested with what the tests of the instrumentation use, against an odder server.

The files here also run in the environments of `tests/matrix`, against the installed wheel and older clients: they need
what `environments.py` there lists, and nothing else.
"""

from __future__ import annotations

import contextlib
from typing import Any

import openai
import pytest

from backspan import telemetry
from tests.contract.odd_server import OddServer
from tests.instrument.conftest import MESSAGES, Seen, clean, content, patched, quiet

__all__ = ["MESSAGES", "Seen", "clean", "content", "patched", "quiet"]


@pytest.fixture(scope="session")
def server():
    with OddServer() as running:
        yield running


@pytest.fixture
def seen():
    """What is recorded, as it is: also what comes of broken spans and odd answers."""
    kept = Seen()
    telemetry._state.tracer_provider = kept.provider
    telemetry._state.meter_provider = kept.meters
    return kept


def make_client(server: Any, **more: Any) -> openai.OpenAI:
    """A client of ``server`` (or of an address) that does not read the world's certificates: that takes too long."""
    given = {"base_url": getattr(server, "base_url", server), "api_key": "sk-test", "max_retries": 0, **more}
    return openai.OpenAI(http_client=openai.DefaultHttpxClient(verify=False), **given)


@pytest.fixture
def client(server, patched):
    with make_client(server) as made:
        yield made


@contextlib.asynccontextmanager
async def async_client(server: Any, **more: Any):
    """An asynchronous client; each test runs a loop of its own."""
    given = {"base_url": server.base_url, "api_key": "sk-test", "max_retries": 0, **more}
    async with openai.AsyncOpenAI(http_client=openai.DefaultAsyncHttpxClient(verify=False), **given) as made:
        yield made


def stream_of(client: Any, model: str = "gpt-x", **more: Any) -> Any:
    """A chat stream (or an awaitable of one)."""
    return client.chat.completions.create(**{"model": model, "messages": MESSAGES, "stream": True, **more})


def texts(chunks: Any) -> str:
    """What the chunks of a chat say."""
    return "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
