"""A real Chromium, a real gateway, and pages from another origin under a strict content security policy.

What a test asserts is what the gateway has stored: `Gateway.votes` asks it, as a browser would, and `/metrics` counts.
"""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Generator
from contextlib import ExitStack
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pytest

from backspan import config, semconv
from tests.browser import npm
from tests.browser.site import ANSWER, Site, widget
from tests.server.conftest import KEY, Server, token, until
from tests.support.processes import environment

if TYPE_CHECKING:
    from playwright.sync_api import Browser, BrowserContext, Locator, Page

if find_spec("playwright") is None:  # the group `browser` brings it, for the stage of that name
    collect_ignore_glob = ["test_*.py"]

PATIENCE_MS = 30_000
"""For what must come. The driver's own five seconds are short on a machine that does much else."""
_numbers = itertools.count(1)
Open = Callable[..., "Locator"]


class Gateway(Server):
    """The gateway, and what it knows."""

    def votes(self, sealed: str) -> dict[str, dict[str, Any]]:
        """What stands of the votes of a token, by name."""
        status, answer = self.json("/v1/feedback", Backspan_Token=sealed)
        assert status == 200, answer
        return {row["name"]: row for row in answer["feedback"]}


@pytest.fixture(scope="session")
def browser() -> Generator[Browser]:
    """The Chromium of the machine."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE_MS)
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    assert program, "install Chromium: apt-get install chromium"
    flags = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=flags)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def site() -> Generator[Site]:
    """Pages, on a port of their own: another origin than the gateway's."""
    with Site() as site:
        yield site


@pytest.fixture(scope="session")
def gateways(site: Site, tmp_path_factory: pytest.TempPathFactory) -> Generator[Callable[..., Gateway]]:
    """Make gateways; those that still run at the end are stopped."""
    with ExitStack() as stack:

        def make(origin: str = site.url, **env: str) -> Gateway:
            given = {"BACKSPAN_DATA_DIR": str(tmp_path_factory.mktemp("gateway")), "BACKSPAN_TOKEN_KEYS": KEY,
                     "BACKSPAN_ORIGINS": origin, "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", **env}
            gateway = Gateway("gateway", [], environment(**given))
            stack.callback(gateway.stop)
            return gateway.start()

        yield make


@pytest.fixture(scope="session")
def gateway(gateways: Callable[..., Gateway]) -> Gateway:
    """One gateway that allows the pages' origin."""
    return gateways()


@pytest.fixture(autouse=True)
def _keys(monkeypatch: pytest.MonkeyPatch) -> Generator[None]:
    monkeypatch.setenv("BACKSPAN_TOKEN_KEYS", KEY)
    config.reload()
    yield
    config.reload()


@pytest.fixture
def context(browser: Browser) -> Generator[BrowserContext]:
    """A fresh profile: no storage, no cache."""
    context = browser.new_context(locale="en-GB")
    context.set_default_timeout(PATIENCE_MS)
    yield context
    context.close()


@pytest.fixture
def page(context: BrowserContext) -> Generator[Page]:
    """A tab in which nothing may go wrong: an error of a script, or a breach of the policy, fails the test."""
    page = context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda said: faults.append(said.text) if "Content Security" in said.text else None)
    page.faults = faults  # type: ignore[attr-defined]
    yield page
    assert faults == []


@pytest.fixture
def sealed() -> str:
    """A token for an answer that nobody has judged."""
    return fresh()


def fresh(**more: Any) -> str:
    """A token for one more answer, for one more person: nobody is asked too often."""
    number = next(_numbers) + 1000 * os.getpid()
    made = token(number, rater=f"person-{number}", **more)
    assert made is not None
    return made


def pair() -> tuple[str, str]:
    """Tokens for two answers to one person."""
    number = next(_numbers) + 1000 * os.getpid()
    made = [token(number, rater=f"person-{number}", target={"span_id": f"{half:016x}"}) for half in (1, 2)]
    return made[0] or "", made[1] or ""


def axe() -> str:
    """The source of axe-core."""
    return (npm.modules() / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def count(gateway: Gateway, name: str, polarity: str, op: str) -> float:
    """Judgements that the gateway's counter has, over all cohorts."""
    wanted = [f'name="{name}"', f'polarity="{polarity}"', f'op="{op}"', f"{semconv.PROM_FEEDBACK}"]
    lines = [line for line in gateway.metrics().splitlines() if all(part in line for part in wanted)]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines)


@pytest.fixture
def opened(page: Page, site: Site, gateway: Gateway) -> Open:
    """Open a page with one widget for a token; return the widget, ready."""
    from playwright.sync_api import expect

    def opened(token: str, **attributes: Any) -> Locator:
        body = widget(token, ANSWER.format(id="answer"), **{"for": "answer", **attributes})
        page.goto(site.show(gateway.url, body))
        found = page.locator("backspan-feedback")
        expect(found.get_by_role("button", name="About your feedback")).to_be_visible()
        expect(found.get_by_role("button", name="Skip")).to_be_visible()
        return found

    return opened


def stored(gateway: Gateway, token: str, name: str, **wanted: Any) -> dict[str, Any]:
    """The stored vote, once it is as wanted."""

    def there() -> dict[str, Any] | None:
        row = {key: value for key, value in gateway.votes(token).items() if key == name}.get(name)
        return row if row and all(row[key] == value for key, value in wanted.items()) else None

    return until(there)


def gone(gateway: Gateway, token: str, name: str) -> None:
    """Wait until nothing stands under a name."""
    until(lambda: name not in gateway.votes(token))


def thumb(found: Locator, up: bool) -> Locator:
    """A button of a widget."""
    return found.get_by_role("button", name="Yes, it helped" if up else "No, it did not help")
