"""Life for the dashboards: the example application with simulated users, one that does everything once in a while."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.stack.conftest import House
from tests.support.held import hold
from tests.support.openai_server import OpenAIServer
from tests.support.processes import Server, python, serve

from backspan._assets import asset
from backspan.cli._demo.cast import load_users

EXAMPLE = asset("examples") / "rag_chat"
HERE = Path(__file__).parent
RESOURCE = "deployment.environment.name=test,service.version=1.0.0"
READY = "Uvicorn running|Application startup complete"


@contextmanager
def rag_chat(house: House, version: Path) -> Generator[str]:
    """The example application and its model; the application's URL. ``version`` is the file that names the prompt."""
    launched = ("import sys, runpy, uvicorn; sys.argv = sys.argv[1:]; run = uvicorn.run;"
                "uvicorn.run = lambda app, **more: run(app, **{**more, 'log_level': 'info'});"
                f"sys.path.insert(0, {str(EXAMPLE)!r}); runpy.run_path(sys.argv[0], run_name='__main__')")
    with (hold() as model, hold() as port, OpenAIServer() as unused,
          _served(launched, "model_server.py", model, house.environment(unused, BACKSPAN="0"))):
        env = house.environment(
            unused, BACKSPAN="content", OPENAI_BASE_URL=f"http://127.0.0.1:{model}/v1", OTEL_SERVICE_NAME="rag-chat",
            OTEL_RESOURCE_ATTRIBUTES=RESOURCE, OTEL_METRIC_EXPORT_INTERVAL="1000", RAG_CHAT_LIVE_PROMPT=str(version),
            RAG_CHAT_INDEXES="fjordline-v1,fjordline-v2", RAG_CHAT_EVALUATE="1")
        with _served(launched, "app.py", port, env) as app:
            yield app.url


@contextmanager
def _served(launched: str, name: str, port: int, env: dict[str, str]) -> Generator[Server]:
    command = python("-c", launched, EXAMPLE / name, "--port", str(port))
    with serve(command, env, port, READY) as server:
        yield server


def visit(house: House, app: str, first: int, count: int) -> None:
    """Let simulated users ask and judge."""
    feedback = f"http://127.0.0.1:{house.backend.ports.gateway}"
    assert len(list(load_users().run(app, feedback, first, count, 7))) >= count


@contextmanager
def busy_app(house: House, model: OpenAIServer) -> Generator[None]:
    """Prompts, variants, segments, failures, verdicts and signals, again and again for the block."""
    env = house.environment(model, OTEL_SERVICE_NAME="busy", OTEL_RESOURCE_ATTRIBUTES=RESOURCE, BACKSPAN="content",
                            OTEL_METRIC_EXPORT_INTERVAL="1000")
    command = [sys.executable, str(HERE / "busy_app.py")]
    with subprocess.Popen(command, cwd=HERE, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as app:
        assert app.stdin is not None and app.stdout is not None
        assert app.stdout.readline() == "round\n"
        yield
        app.stdin.close()
        app.stdout.read()
        assert app.wait(60) == 0
