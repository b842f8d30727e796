"""Who plays: `backspan up`, the simulated model server and the chat application, each in a process of its own."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType

from backspan._assets import asset
from backspan.cli._demo.children import Child, Children, free_ports

SERVICE = "rag-chat"
SPEC = Path(__file__).with_name("spc.yaml")
"""What `up` is told to watch."""
_UP = "import sys; from backspan.cli import main; sys.exit(main())"
_NEEDS = ("cryptography", "fastapi", "openai", "plotext", "qdrant_client", "sqlalchemy", "uvicorn", "yaml")


@dataclass(frozen=True)
class Cast:
    """The running processes, and the file that names the prompt version in use."""

    up: Child
    model: Child
    app: Child
    live: Path

    def release(self, version: str) -> None:
        """Put a prompt version into use; the application reads the file for every request."""
        partly = self.live.with_suffix(".new")
        partly.write_text(version + "\n", encoding="utf-8")
        partly.replace(self.live)


def missing() -> str | None:
    """The line that installs what is not there, or None."""
    if all(importlib.util.find_spec(name) for name in _NEEDS):
        return None
    return f"pip install 'backspan[all]' -r {asset('examples') / 'requirements.txt'}"


@cache
def load_users() -> ModuleType:
    """The simulated users of the example, as a module."""
    path = asset("examples") / "rag_chat" / "users.py"
    spec = importlib.util.spec_from_file_location("backspan_demo_users", path)
    if spec is None or spec.loader is None:
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def start(children: Children, folder: Path, seed: int) -> Cast:
    """Start everything and wait until it answers. Raises `children.ChildFailed`."""
    rag_chat, ports = asset("examples") / "rag_chat", free_ports(3)
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    live = folder / "live-prompt"
    live.write_text("v1\n", encoding="utf-8")
    data = {"BACKSPAN_DATA_DIR": str(folder / "data")}
    up = children.start(
        "backspan up", urls[0],
        [sys.executable, "-c", _UP, "up", "--port", str(ports[0]), "--spec", str(SPEC), "--origin", urls[2]],
        _env(data), folder,
    )
    model = children.start(
        "model server", urls[1],
        [sys.executable, str(rag_chat / "model_server.py"), "--port", str(ports[1]), "--seed", str(seed)],
        _env({}), folder,
    )
    children.wait_ready(model)
    env = _env({**data, **_app_variables(urls[0], urls[1], live)})
    app = children.start(
        "application", urls[2], [sys.executable, str(rag_chat / "app.py"), "--port", str(ports[2])], env, folder
    )
    children.wait_ready(up)
    children.wait_ready(app)
    return Cast(up, model, app, live)


def _app_variables(up: str, model: str, live: Path) -> dict[str, str]:
    return {
        "BACKSPAN": "content",
        "OTEL_EXPORTER_OTLP_ENDPOINT": up,
        "OTEL_SERVICE_NAME": SERVICE,
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment.name=demo",
        "OPENAI_BASE_URL": f"{model}/v1",
        "OPENAI_API_KEY": "none-needed",
        "RAG_CHAT_LIVE_PROMPT": str(live),
        "RAG_CHAT_FEEDBACK": up,
    }


def _env(more: Mapping[str, str]) -> dict[str, str]:
    """This process's environment without what would change the demo, and past any proxy, plus ``more``."""
    ours = ("BACKSPAN", "OTEL_", "OPENAI_", "RAG_CHAT_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    local = {"NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1", "PYTHONUNBUFFERED": "1"}
    return {**kept, **local, **more}
