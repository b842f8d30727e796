"""What a person clicks is what the gateway has stored, whatever comes between."""

from __future__ import annotations

import json
import time

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Gateway, Open, count, fresh, gone, pair, stored, thumb
from tests.browser.site import Site, widget
from tests.server.conftest import until

pytestmark = pytest.mark.browser


# --- thumbs -----------------------------------------------------------------------------------------------------------
def test_a_thumb_is_stored_as_asked_for(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed)
    thumb(found, True).click()
    expect(thumb(found, True)).to_have_attribute("aria-pressed", "true")
    expect(found.get_by_role("status")).to_have_text("Thank you. You can change this at any time.")
    assert stored(gateway, sealed, "user_thumbs", value=1.0)["solicited"] is True


def test_a_changed_mind_is_one_vote_and_two_revisions(opened: Open, gateway: Gateway, sealed: str) -> None:
    before = count(gateway, "user_thumbs", "negative", "change")
    found = opened(sealed)
    thumb(found, True).click()
    stored(gateway, sealed, "user_thumbs", value=1.0, version=1)
    thumb(found, False).click()
    expect(thumb(found, True)).to_have_attribute("aria-pressed", "false")
    stored(gateway, sealed, "user_thumbs", value=0.0, version=2)
    until(lambda: count(gateway, "user_thumbs", "negative", "change") >= before + 1)


def test_reasons_and_words_follow_a_thumb_step_by_step(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed)
    expect(found.get_by_text("What was the problem?")).to_be_hidden()
    thumb(found, False).click()
    found.get_by_text("Off topic").click()
    expect(found.get_by_label("Anything else?")).to_be_hidden()
    found.get_by_text("Something else").click()
    found.get_by_label("Anything else?").press_sequentially("too short")
    found.get_by_role("button", name="Send").click()
    row = stored(gateway, sealed, "user_thumbs", version=2)
    assert (row["reasons"], row["comment"]) == (["irrelevant", "other"], "too short")


def test_rather_not_say_stands_alone(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed)
    thumb(found, False).click()
    found.get_by_text("Too vague").click()
    found.get_by_text("Rather not say").click()
    expect(found.get_by_role("checkbox", checked=True)).to_have_count(1)
    found.get_by_role("button", name="Close").click()
    stored(gateway, sealed, "user_thumbs", reasons=["not_said"])


def test_clicking_the_thumb_again_takes_it_back_and_so_does_undo(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed)
    for take_back in (lambda: thumb(found, True).click(), found.get_by_role("button", name="Undo").click):
        thumb(found, True).click()
        stored(gateway, sealed, "user_thumbs", value=1.0)
        take_back()
        expect(thumb(found, True)).to_have_attribute("aria-pressed", "false")
        gone(gateway, sealed, "user_thumbs")


def test_is_it_correct_is_a_vote_of_its_own(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed)
    thumb(found, True).click()
    found.get_by_role("button", name="Tell us more").click()
    for name, label, value in (("Something is wrong", "fail", 0.0), ("Not sure", "neutral", None)):
        found.get_by_role("radio", name=name).click()
        stored(gateway, sealed, "user_factual", label=label, value=value)
    stored(gateway, sealed, "user_thumbs", value=1.0, version=1)
    found.get_by_role("radio", name="Not sure").click()
    gone(gateway, sealed, "user_factual")


def test_what_was_said_is_there_after_a_reload(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed)
    thumb(found, False).click()
    found.get_by_text("Too vague").click()
    found.get_by_role("button", name="Send").click()
    stored(gateway, sealed, "user_thumbs", reasons=["too_vague"])
    found.page.reload()
    expect(thumb(found, False)).to_have_attribute("aria-pressed", "true")
    found.get_by_role("button", name="Tell us more").click()
    expect(found.get_by_role("checkbox", name="Too vague")).to_be_checked()


def test_two_widgets_on_a_page_do_not_know_of_each_other(page: Page, site: Site, gateway: Gateway) -> None:
    first, second = fresh(), fresh()
    page.goto(site.show(gateway.url, widget(first) + widget(second)))
    thumb(page.locator("backspan-feedback").nth(1), True).click()
    stored(gateway, second, "user_thumbs", value=1.0)
    assert gateway.votes(first).get("user_thumbs") is None
    expect(thumb(page.locator("backspan-feedback").nth(0), True)).to_have_attribute("aria-pressed", "false")


def test_skip_is_counted_and_no_vote(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed)
    body = '{"name":"user_thumbs","skip":true}'
    with found.page.expect_response(lambda answer: answer.request.post_data == body) as said:
        found.get_by_role("button", name="Skip").click()
    assert said.value.status == 201
    expect(found.get_by_text("Did this answer help you?")).to_have_css("position", "absolute")
    assert "user_thumbs" not in gateway.votes(sealed)


# --- other forms ------------------------------------------------------------------------------------------------------
def test_stars_that_arrow_keys_pass_over_are_not_sent(page: Page, opened: Open, gateway: Gateway, sealed: str) -> None:
    page.clock.install()
    found = opened(sealed, mode="stars")
    found.get_by_role("radio").first.focus()
    page.clock.pause_at(time.time() + 3600)
    for key in (" ", "ArrowRight", "ArrowRight", "ArrowRight"):
        page.keyboard.press(key)
        page.clock.run_for(100)  # however long the machine takes
    page.clock.resume()
    stored(gateway, sealed, "user_stars", value=4.0, version=1)
    found.get_by_role("radio", name="4 of 5 stars").click()
    gone(gateway, sealed, "user_stars")


def test_a_comparison_judges_both_answers(opened: Open, gateway: Gateway) -> None:
    sealed, other = pair()
    found = opened(sealed, mode="compare", other_token=other)
    found.get_by_role("button", name="The second").click()
    stored(gateway, sealed, "user_preference", label="loss")
    stored(gateway, other, "user_preference", label="win")
    found.get_by_role("button", name="About the same").click()
    stored(gateway, other, "user_preference", label="tie")
    found.get_by_role("button", name="Undo").click()
    gone(gateway, sealed, "user_preference")
    gone(gateway, other, "user_preference")


def test_a_correction_with_the_passage_it_is_about(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed, mode="inline")
    found.get_by_role("button", name="Suggest a better answer").first.click()
    text = found.get_by_label("What should it have said?")
    assert text.input_value().startswith("Gift cards are valid for two years")
    found.page.evaluate("getSelection().selectAllChildren(document.querySelector('#answer em'))")
    expect(found.locator("blockquote")).to_have_text("two years")
    text.fill("Gift cards are valid for three years.")
    with found.page.expect_request(lambda sent: "correction" in (sent.post_data or "")) as sent:
        found.get_by_role("button", name="Send").click()
    assert json.loads(sent.value.post_data or "")["quote"] == {"text": "two years", "start": 25, "end": 34}
    stored(gateway, sealed, "user_correction", correction="Gift cards are valid for three years.")


def test_an_amended_correction_keeps_its_passage_after_a_reload(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed, mode="inline")
    found.get_by_role("button", name="Suggest a better answer").first.click()
    found.page.evaluate("getSelection().selectAllChildren(document.querySelector('#answer em'))")
    found.get_by_label("What should it have said?").fill("Three years.")
    found.get_by_role("button", name="Send").click()
    stored(gateway, sealed, "user_correction", correction="Three years.")
    found.page.reload()
    found.get_by_role("button", name="Tell us more").click()
    expect(found.locator("blockquote")).to_have_text("two years")
    found.get_by_label("What should it have said?").fill("Four years.")
    with found.page.expect_request(lambda sent: "Four" in (sent.post_data or "")) as sent:
        found.get_by_role("button", name="Send").click()
    assert json.loads(sent.value.post_data or "")["quote"] == {"text": "two years", "start": 25, "end": 34}
    stored(gateway, sealed, "user_correction", correction="Four years.")


def test_an_answer_left_as_it_is_is_no_correction(opened: Open, gateway: Gateway, sealed: str) -> None:
    found = opened(sealed, mode="inline")
    found.get_by_role("button", name="Suggest a better answer").first.click()
    found.get_by_role("button", name="Send").click()
    expect(found.get_by_label("What should it have said?")).to_be_hidden()
    assert "user_correction" not in gateway.votes(sealed)
