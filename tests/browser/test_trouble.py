"""What goes wrong: no network, refusals, a busy gateway, an expired token; and pages of other languages and words."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import BrowserContext, Page, Route, expect

from tests.browser.conftest import Gateway, Open, fresh, stored, thumb
from tests.browser.site import Site, widget

pytestmark = pytest.mark.browser


def test_what_is_said_offline_is_sent_later(
    opened: Open, context: BrowserContext, gateway: Gateway, sealed: str
) -> None:
    found = opened(sealed)
    context.set_offline(True)
    thumb(found, False).click()
    expect(found.get_by_role("status")).to_have_text("Kept in this browser until it can be sent.")
    thumb(found, True).click()
    expect(thumb(found, True)).to_have_attribute("aria-pressed", "true")
    assert "user_thumbs" not in gateway.votes(sealed)
    context.set_offline(False)
    stored(gateway, sealed, "user_thumbs", value=1.0, version=1)
    expect(found.get_by_role("status")).to_have_text("Thank you. You can change this at any time.")


def test_what_was_said_offline_survives_the_page(
    opened: Open, context: BrowserContext, site: Site, gateway: Gateway, sealed: str
) -> None:
    found = opened(sealed)
    context.set_offline(True)
    thumb(found, False).click()
    expect(found.get_by_role("status")).to_have_text("Kept in this browser until it can be sent.")
    found.page.close()
    context.set_offline(False)
    context.new_page().goto(site.show(gateway.url, widget(fresh())))
    stored(gateway, sealed, "user_thumbs", value=0.0)


@pytest.mark.parametrize(("status", "kept"), [(422, False), (201, True)], ids=["refused", "accepted"])
def test_a_vote_that_is_refused_is_not_shown(opened: Open, sealed: str, status: int, kept: bool) -> None:
    found = opened(sealed)

    def answer(route: Route) -> None:
        body = json.dumps({"field": "name"})
        route.fulfill(status=status, body=body, headers={"Access-Control-Allow-Origin": "*"})

    found.page.route("**/v1/feedback", answer)
    with found.page.expect_response("**/v1/feedback"):
        thumb(found, True).click()
    said = "Thank you. You can change this at any time." if kept else "This could not be saved."
    expect(found.get_by_role("status")).to_have_text(said)
    expect(thumb(found, True)).to_have_attribute("aria-pressed", str(kept).lower())


def test_a_busy_gateway_is_asked_again(opened: Open, gateway: Gateway, sealed: str) -> None:
    found, refusals = opened(sealed), [503, 503]

    def answer(route: Route) -> None:
        if route.request.method == "POST" and refusals:
            route.fulfill(status=refusals.pop(), headers={"Access-Control-Allow-Origin": "*"})
        else:
            route.continue_()

    found.page.route("**/v1/feedback", answer)
    with found.page.expect_response(lambda answer: answer.status == 201 and answer.request.method == "POST"
                                    and answer.url.endswith("/v1/feedback")):
        thumb(found, True).click()
    stored(gateway, sealed, "user_thumbs", value=1.0, version=1)
    assert refusals == []


def test_an_expired_token_is_said_and_cannot_be_used(page: Page, site: Site, gateway: Gateway) -> None:
    page.goto(site.show(gateway.url, widget(fresh(now=1.0))))
    found = page.locator("backspan-feedback")
    expect(found.get_by_role("status")).to_have_text("This answer can no longer be rated.")
    expect(thumb(found, True)).to_be_disabled()


@pytest.mark.parametrize(("language", "said"), [
    ("de", "Hat Ihnen diese Antwort geholfen?"), ("fr", "Cette réponse vous a-t-elle aidé ?"),
    ("es", "¿Le ha ayudado esta respuesta?"), ("xx", "Did this answer help you?")])
def test_it_speaks_the_language_of_the_page(page: Page, site: Site, gateway: Gateway, language: str, said: str) -> None:
    page.goto(site.show(gateway.url, widget(fresh()), lang=language))
    found = page.locator("backspan-feedback")
    expect(found.get_by_text(said)).to_be_visible()
    assert "undefined" not in found.evaluate("element => element.shadowRoot.innerHTML")


def test_a_page_may_have_its_own_words_and_reasons(page: Page, site: Site, gateway: Gateway, sealed: str) -> None:
    own = {"texts": json.dumps({"thumbs": "Useful?"}), "reasons": json.dumps({"too_long": "Too long"})}
    page.goto(site.show(gateway.url, widget(sealed, **own)))
    found = page.locator("backspan-feedback")
    expect(found.get_by_text("Useful?")).to_be_visible()
    thumb(found, False).click()
    expect(found.locator("fieldset").get_by_role("checkbox")).to_have_count(3)
