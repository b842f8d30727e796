"""For everybody: axe-core finds nothing in any state, the keyboard is enough, and motion and colours are as wished."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from tests.browser.conftest import Gateway, axe, fresh
from tests.browser.site import ANSWER, Site, widget
from tests.server.conftest import until

pytestmark = pytest.mark.browser
STILL = "async one => { for (const moved of one.shadowRoot.getAnimations()) await moved.finished.catch(() => {}) }"
"""What is half faded in has no contrast yet; a document does not know what moves in a shadow tree."""


def violations(page: Page) -> list[tuple[str, list[str]]]:
    """What axe-core finds on the page, with where."""
    if not page.evaluate("typeof axe !== 'undefined'"):
        page.evaluate(axe())
    page.locator("backspan-feedback").evaluate(STILL)
    found = page.evaluate("axe.run('backspan-feedback').then(result => result.violations)")
    return [(one["id"], [node["html"][:120] + str(node.get("failureSummary"))[:200] for node in one["nodes"]])
            for one in found]


def _details(found: Locator) -> None:
    found.get_by_role("button", name="No, it did not help").click()
    found.get_by_text("Something else").click()
    found.get_by_role("button", name="Suggest a better answer").click()


def _about(found: Locator) -> None:
    found.get_by_role("button", name="About your feedback").click()


def _voted(found: Locator) -> None:
    found.get_by_role("button", name="Yes, it helped").click()


STATES: dict[str, tuple[dict[str, Any], Callable[[Locator], object]]] = {
    "asked": ({}, lambda found: None),
    "quiet": ({"prompt_on": "end"}, lambda found: None),
    "voted": ({}, _voted),
    "details": ({}, _details),
    "about": ({"policy": "/policy"}, _about),
    "stars": ({"mode": "stars"}, lambda found: found.locator(".star").nth(3).click()),
    "compare": ({"mode": "compare", "other_token": "x"}, lambda found: None),
    "inline": ({"mode": "inline"}, lambda found: found.get_by_role("button", name="Suggest").first.click()),
}


@pytest.mark.parametrize("scheme", ["light", "dark", "rtl", "forced"])
def test_axe_finds_nothing_in_any_state(browser: Browser, site: Site, gateway: Gateway, scheme: str) -> None:
    context = browser.new_context(
        color_scheme="dark" if scheme == "dark" else "light", forced_colors="active" if scheme == "forced" else "none",
        viewport={"width": 360, "height": 800})
    page = context.new_page()
    for state, (attributes, act) in STATES.items():
        body = widget(fresh(), ANSWER.format(id="answer"), **{"for": "answer", **attributes})
        page.goto(site.show(gateway.url, body, dir="rtl" if scheme == "rtl" else "ltr"))
        found = page.locator("backspan-feedback")
        expect(found.get_by_role("button", name="About your feedback")).to_be_visible()
        act(found)
        assert violations(page) == [], state
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), state
    context.close()


@pytest.mark.parametrize(("harm", "rule"), [
    ("button => button.removeAttribute('aria-label') || button.removeAttribute('title')", "button-name"),
    ("button => button.closest('.row').style.color = '#ddd'", "color-contrast"),
])
def test_axe_finds_what_is_broken(page: Page, site: Site, gateway: Gateway, harm: str, rule: str) -> None:
    page.goto(site.show(gateway.url, widget(fresh())))
    page.locator("backspan-feedback .up").evaluate(harm)
    assert rule in [name for name, _ in violations(page)]


def test_the_keyboard_is_enough(page: Page, site: Site, gateway: Gateway, sealed: str) -> None:
    page.goto(site.show(gateway.url, widget(sealed, prompt_on="complete")))
    found = page.locator("backspan-feedback")
    expect(found.get_by_role("button", name="Skip")).to_be_visible()
    said = page.locator("backspan-feedback").evaluate_handle("element => element.shadowRoot")

    def focused() -> str:
        return said.evaluate("root => { const one = root.activeElement; return one?.getAttribute('aria-label') "
                             "?? one?.value ?? one?.className ?? '' }")

    for key in ("Tab", "Tab", "Enter"):
        page.keyboard.press(key)
    expect(found.get_by_role("form", name="Tell us more")).to_be_focused()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    first = focused()
    page.keyboard.press("Escape")
    expect(found.get_by_text("What was the problem?")).to_be_hidden()
    assert focused() == "No, it did not help"
    until(lambda: gateway.votes(sealed).get("user_thumbs", {}).get("reasons") == [first])
    page.keyboard.press("Enter")
    until(lambda: "user_thumbs" not in gateway.votes(sealed))


def test_there_is_room_for_every_finger(page: Page, site: Site, gateway: Gateway) -> None:
    page.goto(site.show(gateway.url, widget(fresh(), ANSWER.format(id="answer"), **{"for": "answer"})))
    found = page.locator("backspan-feedback")
    _details(found)
    sizes = found.evaluate("""element => [...element.shadowRoot.querySelectorAll("button, label.chip, a, textarea")]
        .map(one => one.getBoundingClientRect()).filter(one => one.width)
        .map(one => Math.min(one.width, one.height))""")
    assert len(sizes) > 12 and min(sizes) >= 24


@pytest.mark.parametrize(("motion", "seconds"), [("reduce", "0s"), ("no-preference", "0.18s")])
def test_nothing_moves_for_those_who_do_not_want_it(
    browser: Browser, site: Site, gateway: Gateway, motion: str, seconds: str
) -> None:
    context = browser.new_context(reduced_motion=motion)  # type: ignore[arg-type]
    page = context.new_page()
    page.goto(site.show(gateway.url, widget(fresh())))
    found = page.locator("backspan-feedback")
    found.get_by_role("button", name="No, it did not help").click()
    expect(found.locator("form")).to_have_css("animation-duration", seconds)
    context.close()


def test_what_is_said_aloud_was_there_before_it_is_said(page: Page, site: Site, gateway: Gateway) -> None:
    page.goto(site.show(gateway.url, widget(fresh(), streaming=True)))
    page.locator("backspan-feedback:defined").wait_for(state="attached")
    found = page.locator("backspan-feedback")
    status = found.evaluate_handle("element => element.shadowRoot.querySelector('[role=status]')")
    found.evaluate("element => element.removeAttribute('streaming')")
    found.get_by_role("button", name="Yes, it helped").click()
    assert status.evaluate("one => one.isConnected && one.textContent").startswith("Thank you")
