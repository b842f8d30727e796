"""Signals: numbers only, with consent only, and never where the browser asks not to be watched."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from playwright.sync_api import BrowserContext, Page, Request, expect

from tests.browser.conftest import Gateway, fresh
from tests.browser.site import ANSWER, Site, widget
from tests.server.conftest import until

pytestmark = pytest.mark.browser
GPC = "Object.defineProperty(Navigator.prototype, 'globalPrivacyControl', { get: () => true })"
USE = """async ([script, token, consent]) => {
    const { observeAnswer } = await import(script);
    const answer = document.querySelector("#answer");
    const stop = observeAnswer(answer, token, { consent });
    getSelection().selectAllChildren(answer);
    document.execCommand("copy");
    answer.querySelector("a").click();
    stop();
}"""


def sent(page: Page) -> list[dict[str, Any]]:
    """Signals that the page sends, as they come."""
    found: list[dict[str, Any]] = []

    def note(request: Request) -> None:
        if request.url.endswith("/v1/signals"):
            found.append(json.loads(request.post_data or "{}"))

    page.on("request", note)
    return found


def use(page: Page, site: Site, gateway: Gateway, token: str, consent: bool) -> None:
    page.goto(site.show(gateway.url, ANSWER.format(id="answer")))
    page.evaluate(USE, [f"{gateway.url}/widget.js", token, consent])


def test_use_of_an_answer_is_told_with_consent(page: Page, site: Site, gateway: Gateway, sealed: str) -> None:
    batches = sent(page)
    use(page, site, gateway, sealed, consent=True)
    until(lambda: {"implicit_copy", "implicit_code_copy", "implicit_citation_click"} <= set(gateway.votes(sealed)))
    assert gateway.votes(sealed)["implicit_copy"]["value"] == 1.0
    said = json.dumps(batches).replace(sealed, "")
    assert "Gift" not in said and "terms" not in said


@pytest.mark.parametrize("why", ["no consent", "Sec-GPC", "opted out"])
def test_nothing_is_told_without(page: Page, context: BrowserContext, site: Site, gateway: Gateway, why: str) -> None:
    batches = sent(page)
    if why == "Sec-GPC":
        context.add_init_script(GPC)
    if why == "opted out":
        context.add_init_script("localStorage.setItem('backspan.optout', '1')")
    use(page, site, gateway, fresh(), consent=why != "no consent")
    assert batches == []


def test_being_seen_for_a_second_is_counted_once(page: Page, site: Site, gateway: Gateway, sealed: str) -> None:
    batches = sent(page)
    page.clock.install()
    page.clock.pause_at(time.time() + 3600)  # the second begins when the question stands, however long that takes
    below = '<div class="answer"><p>' + "x<br>" * 80 + "</p></div>"
    unseen = fresh()
    page.goto(site.show(gateway.url, widget(sealed, variant="b", surface="chat") + below
                        + widget(unseen)))
    expect(page.get_by_role("button", name="Skip").first).to_be_visible()
    assert batches == []
    a_second_passes(page, gateway, sealed)
    page.evaluate("null")  # requests are noted while the driver is listened to
    assert [one["signals"] for one in batches] == [[{
        "name": "implicit_exposure", "value": 1, "ui_variant": "b", "surface": "chat", "solicited": True}]]
    assert "implicit_exposure" not in gateway.votes(unseen)
    page.locator("backspan-feedback").nth(1).scroll_into_view_if_needed()
    a_second_passes(page, gateway, unseen)
    page.evaluate("null")
    assert len(batches) == 2
    expect(page.locator("backspan-feedback").nth(1)).to_be_visible()


def a_second_passes(page: Page, gateway: Gateway, token: str) -> None:
    """Until the gateway knows what was seen for so long."""
    until(lambda: page.clock.run_for(1000) or "implicit_exposure" in gateway.votes(token))
