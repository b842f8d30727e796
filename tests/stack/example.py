"""The example application against the running back end, and what its users did."""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.stack.conftest import House
from tests.support.held import hold
from tests.support.processes import environment

from backspan._assets import asset
from backspan.cli._demo.cast import load_users
from backspan.cli._demo.children import Children

RAG_CHAT = asset("examples") / "rag_chat"
SERVICE, ENVIRONMENT = "rag-loop", "loop"


@dataclass
class Town:
    """The application and everything that was answered and judged; ``answered`` grows with each round of users."""

    url: str
    gateway: str
    live: Path
    answered: list[Any] = field(default_factory=list[Any])

    def let_in(self, version: str, first: int, count: int) -> None:
        """Put a prompt into use and let users ask and vote with the tokens of their answers."""
        self.live.write_text(f"{version}\n", encoding="utf-8")
        self.answered += load_users().run(self.url, self.gateway, first, count, 7, 2)

    def of(self, version: str, thumbs: str | None = None) -> list[Any]:
        """Answers of a prompt version, all or those with this thumb."""
        return [one for one in self.answered
                if one.prompt_version == version and (thumbs is None or one.thumbs == thumbs)]


def traces(answers: list[Any]) -> set[str]:
    """Trace ids of answers."""
    return {one.turn["trace_id"] for one in answers}


@contextmanager
def application(house: House, folder: Path, port: int = 0, **more: str) -> Generator[Town]:
    """Model server and application for the block; the variable is all that switches the instrumentation on.

    ``port`` is where the application is to listen; without one it takes any.
    """
    live = folder / "live"
    live.write_text("v1\n", encoding="utf-8")
    with hold() as model, hold(port) as own, Children(folder) as children:
        env = environment(**{**_said(house, model, live), **more})
        for name, there in (("model_server", model), ("app", own)):
            command = [sys.executable, str(RAG_CHAT / f"{name}.py"), f"--port={there}"]
            children.wait_ready(children.start(name, f"http://127.0.0.1:{there}", command, env, folder))
        yield Town(f"http://127.0.0.1:{own}", f"http://127.0.0.1:{house.backend.ports.gateway}", live)


def _said(house: House, model: int, live: Path) -> dict[str, str]:
    """The environment of both."""
    return {
        "BACKSPAN": "content", "BACKSPAN_DATA_DIR": str(house.folder / "data"), "OTEL_SERVICE_NAME": SERVICE,
        "OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{house.backend.ports.otlp_http}",
        "OTEL_RESOURCE_ATTRIBUTES": f"deployment.environment.name={ENVIRONMENT}", "OTEL_METRIC_EXPORT_INTERVAL": "1000",
        "OPENAI_BASE_URL": f"http://127.0.0.1:{model}/v1", "RAG_CHAT_LIVE_PROMPT": str(live),
    }
