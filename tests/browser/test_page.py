"""On strangers' pages: strict policies, integrity, mount paths, other origins; and what is served weighs little."""

from __future__ import annotations

import gzip
import re

import pytest
from playwright.sync_api import Page, expect

from backspan.server import widget as served
from tests.browser import bundle
from tests.browser.conftest import Gateway, fresh
from tests.browser.site import MOUNT, Site, policy, widget
from tests.server.conftest import until

pytestmark = pytest.mark.browser
MOST_BYTES = 10_000


def test_the_bundle_is_what_its_sources_say(monkeypatch: pytest.MonkeyPatch) -> None:
    assert bundle.BUNDLE.read_text(encoding="utf-8") == bundle.made()
    monkeypatch.setattr(bundle, "NOTICE", "// another")
    assert bundle.BUNDLE.read_text(encoding="utf-8") != bundle.made()


def test_it_weighs_less_than_ten_kilobytes() -> None:
    written = bundle.BUNDLE.read_bytes()
    assert len(gzip.compress(written, 9)) < MOST_BYTES
    every_language = (bundle.WEB / "widget" / "texts.json").read_bytes()  # the twin: with it, it would not
    assert len(gzip.compress(written + every_language, 9)) > MOST_BYTES


def known_outside(names: list[str], sources: str) -> list[str]:
    """Names that are written as text somewhere, or that no source has any more."""
    words = set(re.findall(r"[\"'](\w+)[\"']", sources))
    return [name for name in names if name in words or not re.search(rf"\b{name}\b", sources)]


def test_no_name_is_shortened_that_somebody_else_knows() -> None:
    folder = bundle.WEB / "widget"
    sources = "".join(path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.js*")))
    assert known_outside(bundle.INSIDE, sources) == []
    assert known_outside(["reasons", "noSuchName"], sources) == ["reasons", "noSuchName"]


def vote(page: Page) -> None:
    page.locator("backspan-feedback").get_by_role("button", name="Yes, it helped").click()


def test_it_works_where_nothing_inline_is_allowed_and_by_integrity(
    page: Page, site: Site, gateway: Gateway, sealed: str
) -> None:
    more = f'integrity="{served.script().integrity}"'
    page.goto(site.show(gateway.url, widget(sealed), script=gateway.url + served.path(), more=more))
    vote(page)
    until(lambda: gateway.votes(sealed).get("user_thumbs"))
    assert page.locator("backspan-feedback").evaluate("element => getComputedStyle(element).display") == "block"


def test_another_script_than_the_named_one_does_not_run(page: Page, site: Site, gateway: Gateway) -> None:
    wrong = f'integrity="sha384-{"A" * 64}"'
    page.goto(site.show(gateway.url, widget(fresh()), more=wrong), wait_until="load")
    assert page.evaluate("customElements.get('backspan-feedback') === undefined")


def test_the_policy_of_the_tests_is_strict(page: Page, site: Site, gateway: Gateway) -> None:
    """The twin: what the widget does not do is stopped on the same page."""
    page.goto(site.show(gateway.url, widget(fresh())))
    assert page.evaluate("""() => {
        try { document.createElement('p').innerHTML = '<b>x</b>'; return false } catch (error) { return true } }""")
    styled = page.evaluate("""() => {
        const one = document.createElement('style'); one.textContent = 'h1 { color: red }';
        document.head.append(one); return getComputedStyle(document.querySelector('h1')).color }""")
    assert styled != "rgb(255, 0, 0)"
    page.faults.clear()  # type: ignore[attr-defined]


def test_under_a_mount_path_the_script_finds_its_gateway(page: Page, site: Site, gateway: Gateway, sealed: str) -> None:
    site.gateway = gateway.url
    page.goto(site.show(site.url, widget(sealed), script=f"{MOUNT}/widget.js", csp=policy(site.url)))
    vote(page)
    until(lambda: gateway.votes(sealed).get("user_thumbs"))


def test_an_origin_that_is_not_allowed_cannot_vote(page: Page, site: Site, gateways, sealed: str) -> None:
    stranger: Gateway = gateways(origin="https://elsewhere.example")
    page.goto(site.show(stranger.url, widget(sealed)))
    found = page.locator("backspan-feedback")
    vote(page)
    expect(found.get_by_role("status")).to_have_text("Kept in this browser until it can be sent.")
    assert stranger.votes(sealed) == {}
