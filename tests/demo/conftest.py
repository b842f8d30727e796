"""Puts the example application's folder on the path, as `python rag_chat/users.py` would."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.support.processes import free_port

from backspan.cli._demo.children import Children

RAG_CHAT = Path(__file__).parents[2] / "examples" / "rag_chat"
sys.path.insert(0, str(RAG_CHAT))


@pytest.fixture(scope="session")
def model_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A running model server."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "model_server.py", "--port", url.rpartition(":")[2], "--seed", "7"]
    with Children(tmp_path_factory.mktemp("model")) as children:
        server = children.start("model server", url, command, {}, RAG_CHAT)
        children.wait_ready(server)
        yield url

