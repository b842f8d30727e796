"""The examples as a visitor has them: real processes, a real browser, and what the gateway has stored."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Generator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from backspan._assets import asset
from backspan.cli._demo.children import Children
from tests.browser import npm
from tests.browser.conftest import Gateway
from tests.server.conftest import KEY, until
from tests.support.held import hold
from tests.support.processes import environment

pytestmark = pytest.mark.browser
Gateways = Callable[..., Gateway]


@pytest.fixture
def ports() -> Generator[Callable[[], int]]:
    """Ports that nobody else gets while a test lasts: a gateway names its page's origin before the page is served."""
    with ExitStack() as stack:
        yield lambda: stack.enter_context(hold())


@pytest.fixture
def children(tmp_path: Path) -> Generator[Children]:
    """Programs that end with the test."""
    with Children(tmp_path) as children:
        yield children


def start(children: Children, folder: Path, script: Path, port: int, **env: str) -> str:
    """Start a program of the examples; return its address."""
    url = f"http://127.0.0.1:{port}"
    given = environment(BACKSPAN="1", BACKSPAN_TOKEN_KEYS=KEY, BACKSPAN_DATA_DIR=str(folder),
                        OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9", **env)
    command = [sys.executable, str(script), f"--port={port}"]
    children.wait_ready(children.start(script.stem, url, command, given, folder))
    return url


def stands(gateway: Gateway, found: Locator, name: str, value: float, version: int) -> None:
    """Wait until exactly this stands for the answer that a widget belongs to."""
    token = found.get_attribute("token") or ""
    until(lambda: (row := gateway.votes(token).get(name)) and (row["value"], row["version"]) == (value, version))


def test_a_streamed_answer_is_rated_and_the_mind_changed(
    page: Page, ports: Callable[[], int], children: Children, gateways: Gateways, tmp_path: Path
) -> None:
    model, port = ports(), ports()
    gateway = gateways(origin=f"http://127.0.0.1:{port}")
    chat = asset("examples") / "rag_chat"
    start(children, tmp_path, chat / "model_server.py", model)
    url = start(children, tmp_path, chat / "app.py", port, OPENAI_BASE_URL=f"http://127.0.0.1:{model}/v1",
                RAG_CHAT_FEEDBACK=gateway.url)
    page.goto(url)
    page.get_by_label("Your question").fill("How long are gift cards valid?")
    page.get_by_role("button", name="Ask").click()
    found = page.locator("backspan-feedback")
    found.get_by_role("button", name="Yes, it helped").click()
    expect(page.locator(".answer")).not_to_be_empty()
    stands(gateway, found, "user_thumbs", 1.0, 1)
    found.get_by_role("button", name="No, it did not help").click()
    stands(gateway, found, "user_thumbs", 0.0, 2)


@pytest.mark.parametrize("name", ["index.html", "react.html", "rendered"])
def test_a_page_of_each_kind(
    page: Page, ports: Callable[[], int], children: Children, gateways: Gateways, tmp_path: Path, name: str
) -> None:
    port = ports()
    gateway = gateways(origin=f"http://127.0.0.1:{port}")
    folder = tmp_path / "widget"
    for file in (asset("examples") / "widget").iterdir():
        folder.mkdir(exist_ok=True)
        text = file.read_text(encoding="utf-8").replace("http://127.0.0.1:8318", gateway.url)
        (folder / file.name).write_text(text, encoding="utf-8")
    if name == "react.html":
        _bundle(folder)
    url = start(children, tmp_path, folder / "server.py", port)
    page.goto(f"{url}/{name}")
    found = page.locator("backspan-feedback")
    found.get_by_role("button", name="Yes, it helped").click()
    stands(gateway, found, "user_thumbs", 1.0, 1)
    if name == "react.html":
        expect(page.locator("#said")).to_have_text("saved")


def _bundle(folder: Path) -> None:
    flags = ["--bundle", "--format=esm", "--log-level=warning", f"--outfile={folder / 'react.bundle.js'}"]
    subprocess.run([*npm.esbuild(), str(folder / "react.js"), *flags], check=True, timeout=60,
                   env=environment(NODE_PATH=str(npm.modules())))
