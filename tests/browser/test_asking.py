"""When and what is asked: at the points that a page names, never twice against one's will, in an order by chance."""

from __future__ import annotations

import json
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Gateway, Open, fresh, gone, stored, thumb
from tests.browser.site import ANSWER, Site, widget
from tests.server.conftest import until

pytestmark = pytest.mark.browser


def test_it_asks_when_the_point_is_reached_and_never_while_streaming(page: Page, site: Site, gateway: Gateway) -> None:
    page.goto(site.show(gateway.url, widget(fresh(), prompt_on="task", streaming=True)))
    found = page.locator("backspan-feedback")
    page.locator("backspan-feedback:defined").wait_for(state="attached")
    expect(found).to_be_hidden()
    found.evaluate("element => element.removeAttribute('streaming')")
    question = found.get_by_text("Did this answer help you?")
    expect(thumb(found, True)).to_be_visible()
    expect(question).to_have_css("position", "absolute")
    page.evaluate("document.dispatchEvent(new CustomEvent('backspan:task'))")
    expect(question).to_have_css("position", "static")


COPIED = ANSWER.replace("</pre>", "</pre><button data-backspan-copy>Copy</button>").format(id="answer")
REACH = {
    "copy by keys": ("copy", "() => { getSelection().selectAllChildren(document.querySelector('#answer em')); "
                             "document.execCommand('copy') }"),
    "copy by a button": ("copy", "() => document.querySelector('[data-backspan-copy]').click()"),
    "session end": ("end", "() => document.dispatchEvent(new CustomEvent('backspan:end'))"),
    "one of several": ("task end", "() => document.dispatchEvent(new CustomEvent('backspan:end'))"),
}
ELSEWHERE = "() => { document.body.click(); getSelection().selectAllChildren(document.querySelector('h1')); " \
            "document.execCommand('copy') }"


@pytest.mark.parametrize(("points", "reach"), REACH.values(), ids=REACH)
def test_it_asks_at_the_points_that_the_page_names(
    page: Page, site: Site, gateway: Gateway, sealed: str, points: str, reach: str
) -> None:
    page.goto(site.show(gateway.url, widget(sealed, COPIED, **{"for": "answer", "prompt_on": points})))
    found = page.locator("backspan-feedback")
    question = found.get_by_text("Did this answer help you?")
    expect(thumb(found, True)).to_be_visible()
    page.evaluate(ELSEWHERE)
    expect(question).to_have_css("position", "absolute")
    page.evaluate(reach)
    expect(question).to_have_css("position", "static")
    thumb(found, True).click()
    assert stored(gateway, sealed, "user_thumbs")["solicited"] is True


def test_what_the_person_agreed_to_goes_with_the_vote(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed, consent="improve contact or-anything", variant="b", surface="chat")
    with found.page.expect_request(lambda sent: "thumbs" in (sent.post_data or "")) as sent:
        thumb(found, True).click()
    body = json.loads(sent.value.post_data or "")
    assert (body["consent"], body["ui_variant"], body["surface"]) == ({"improve": True, "contact": True}, "b", "chat")
    stored(gateway, sealed, "user_thumbs", value=1.0)


MAY = "May be used to improve the assistant"


def agreed(gateway: Gateway, sealed: str, name: str) -> Any:
    """The consent that stands with a vote, as the store has it."""
    row = gateway.votes(sealed).get(name)
    found = gateway.json("/api/feedback?limit=500")[1]["feedback"] if row else []
    circumstances = next((one["circumstances"] for one in found if row and one["id"] == row["id"]), None)
    return (circumstances or {}).get("consent")  # none before the first tick


def test_what_is_said_may_be_used_only_if_the_person_ticks_that(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed, consent="contact")
    thumb(found, False).click()
    found.get_by_role("radio", name="Something is wrong").click()
    stored(gateway, sealed, "user_factual")
    box = found.get_by_role("checkbox", name=MAY)
    expect(box).not_to_be_checked()
    assert agreed(gateway, sealed, "user_thumbs") == {"contact": True}
    for ticked in (True, False, True):
        box.set_checked(ticked)
        for name in ("user_thumbs", "user_factual"):
            wanted = {"contact": True, "improve": ticked}
            until(lambda name=name, wanted=wanted: agreed(gateway, sealed, name) == wanted)
    found.get_by_role("button", name="Suggest a better answer").click()
    found.get_by_label("What should it have said?").fill("Three years.")
    found.get_by_role("button", name="Send").click()
    stored(gateway, sealed, "user_correction")
    assert agreed(gateway, sealed, "user_correction") == {"contact": True, "improve": True}


def test_what_the_person_ticked_is_there_after_a_reload(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed)
    thumb(found, False).click()
    found.get_by_role("checkbox", name=MAY).check()
    until(lambda: agreed(gateway, sealed, "user_thumbs") == {"improve": True})
    found.page.reload()
    found.get_by_role("button", name="Tell us more").click()
    expect(found.get_by_role("checkbox", name=MAY)).to_be_checked()
    thumb(found, True).click()
    stored(gateway, sealed, "user_thumbs", value=1.0)
    assert agreed(gateway, sealed, "user_thumbs") == {"improve": True}


def test_the_box_is_there_where_the_page_wants_it_and_ticked_where_it_knows(
    opened: Open, gateway: Gateway, sealed: str
) -> None:
    found = opened(sealed, questions="helpful factual")
    thumb(found, False).click()
    expect(found.get_by_role("radio", name="Something is wrong")).to_be_attached()
    expect(found.get_by_text(MAY)).to_have_count(0)
    other = fresh()
    found = opened(other, consent="improve")
    thumb(found, False).click()
    until(lambda: agreed(gateway, other, "user_thumbs") == {"improve": True})
    found.get_by_role("checkbox", name=MAY).uncheck()
    until(lambda: agreed(gateway, other, "user_thumbs") == {"improve": False})


def test_a_vote_before_the_question_is_volunteered(page: Page, site: Site, gateway: Gateway, sealed: str) -> None:
    page.goto(site.show(gateway.url, widget(sealed, prompt_on="end")))
    thumb(page.locator("backspan-feedback"), True).click()
    assert stored(gateway, sealed, "user_thumbs")["solicited"] is False


def test_whoever_does_not_want_to_be_asked_is_not(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed)
    thumb(found, True).click()
    stored(gateway, sealed, "user_thumbs")
    found.get_by_role("button", name="About your feedback").click()
    found.get_by_role("button", name="Withdraw my feedback").click()
    gone(gateway, sealed, "user_thumbs")
    found.get_by_role("button", name="About your feedback").click()
    found.get_by_role("button", name="Do not ask me again").click()
    found.page.reload()
    expect(thumb(found, True)).to_be_visible()
    expect(found.get_by_text("Did this answer help you?")).to_have_css("position", "absolute")


def test_the_order_of_reasons_belongs_to_the_answer(page: Page, site: Site, gateway: Gateway) -> None:
    def order(token: str) -> list[str]:
        page.goto(site.show(gateway.url, widget(token)))
        found = page.locator("backspan-feedback")
        expect(thumb(found, False)).to_be_visible()
        return found.locator("fieldset input[type=checkbox]").evaluate_all("all => all.map(one => one.value)")

    tokens = [fresh() for _ in range(4)]
    orders = {tuple(order(token)) for token in tokens}
    assert len(orders) > 1
    assert tuple(order(tokens[0])) in orders and order(tokens[0]) == order(tokens[0])
    assert {one[-2:] for one in orders} == {("other", "not_said")}
