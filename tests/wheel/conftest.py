"""The wheel, built once; and the environment that the README's five lines make from it, with what they did."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.support.openai_server import OpenAIServer
from tests.support.processes import APPS, environment, free_port, run

ROOT = Path(__file__).resolve().parents[2]
_READY = """
import socket, sys, time
end = time.monotonic() + 120
while socket.socket().connect_ex(("127.0.0.1", int(sys.argv[1]))):
    assert time.monotonic() < end
    time.sleep(0.05)
"""
"""By hand one does not type so fast: the program that is traced must not end before `up` listens."""
_ASK = "import sys, urllib.request as r; print(r.urlopen(sys.argv[1], timeout=120).read().decode())"


@pytest.fixture(scope="session")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from the tree by the tools of the environment that runs the tests."""
    out = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    (built,) = out.glob("*.whl")
    return built


@dataclass(frozen=True)
class Readme:
    """What the README's five lines left behind: the environment's interpreter, what they wrote, and `up`'s answer."""

    python: Path
    done: subprocess.CompletedProcess[str]
    turns: str


def readme_lines() -> list[str]:
    """The five lines, as the README has them."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    block = re.search(r"## Five lines[^\n]*\n+```sh\n(.+?)```", text, re.DOTALL)
    assert block, "the README has no five lines"
    return block[1].strip().splitlines()


def _script(wheel: Path, port: int, python: str) -> str:
    """The lines, with the wheel for the registry, this Python for `python3`, and a port that nobody else has."""
    lines = "\n".join(readme_lines())
    for old, new in (
        ("python3 -m venv", f"{python} -m venv"),
        ("'backspan[all]'", f"'{wheel}[all]'"),
        ("backspan up &", f"backspan up --port {port} &\npython -c '{_READY}' {port}"),
    ):
        assert old in lines, f"the README's lines no longer have {old!r}"
        lines = lines.replace(old, new)
    ask = f"python -c '{_ASK}' http://127.0.0.1:{port}/api/turns > turns.json"
    return f"set -e\n{lines}\n{ask}\nkill %1\nwait %1 || true\n"


@pytest.fixture(scope="session")
def readme(wheel: Path, tmp_path_factory) -> Readme:
    """Run the README's five lines in an empty folder that holds nothing but `app.py`."""
    folder, port = tmp_path_factory.mktemp("readme"), free_port()
    (folder / "app.py").write_text((APPS / "chat.py").read_text(encoding="utf-8"), encoding="utf-8")
    with OpenAIServer() as model:
        env = environment(
            OPENAI_BASE_URL=model.base_url,
            BACKSPAN_DATA_DIR=str(folder / "data"),
            OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{port}",
        )
        script = _script(wheel, port, sys.executable)
        done = run(["bash", "-m", "-c", script], env, cwd=folder, timeout=600)
    turns = folder / "turns.json"
    said = turns.read_text(encoding="utf-8") if turns.exists() else ""
    return Readme(folder / ".venv" / "bin" / "python", done, said)
