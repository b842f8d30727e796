"""Variables and macros become what Grafana sends: cases worked out from its sources."""

from __future__ import annotations

import pytest
from tests.support.grafana.expand import Chosen, View

HOUR = 3600


def view(hours: float = 6, **chosen: Chosen) -> View:
    return View(1_000_000, 1_000_000 + hours * HOUR, chosen)


@pytest.mark.parametrize(("hours", "step", "rate"), [(0.5, 15, 60), (6, 30, 60), (24, 120, 135), (24 * 7, 900, 915)])
def test_steps_and_rates(hours: float, step: int, rate: int) -> None:
    """The step is the range by 700 points, rounded; a rate spans a step and a scrape, and four scrapes at least."""
    assert view(hours).promql("[$__interval] [$__rate_interval]") == f"[{step}s] [{rate}s]"


def test_ranges() -> None:
    said = view(1).promql("$__range $__range_s $__range_ms ${__range} $__interval_ms")
    assert said == "3600s 3600 3600000 3600s 15000"


@pytest.mark.parametrize(("chosen", "said"), [
    (Chosen(("$__all",), True, ".*"), ".*"),
    (Chosen(("shop",), True), "shop"),
    (Chosen(("a.b", "c|d"), True), r"(a\\.b|c\\|d)"),
    (Chosen((r"a\b",)), r"a\\b"),
])
def test_variables_for_prometheus(chosen: Chosen, said: str) -> None:
    assert view(x=chosen).promql('{service=~"$x"}') == f'{{service=~"{said}"}}'


@pytest.mark.parametrize(("chosen", "said"), [
    (Chosen(("$__all",), True, ".*"), ".*"), (Chosen(("a.b", "c"), True), "a.b|c"), (Chosen(("0.5",)), "0.5")])
def test_variables_for_tempo(chosen: Chosen, said: str) -> None:
    assert view(x=chosen).traceql("{ span.x =~ $x }") == f"{{ span.x =~ {said} }}"


def test_what_is_no_variable_stays() -> None:
    assert view().promql("$nobody ${nobody} {{label}}") == "$nobody ${nobody} {{label}}"


def test_links_are_encoded_once() -> None:
    url = view(x=Chosen(("a b", "c&d"), True)).url("/d/u?${x:queryparam}&v=${__value.raw}&f=${__data.fields.p}",
                                                  {"p": "1/2"}, "a=b")
    assert url == "/d/u?var-x=a%20b&var-x=c%26d&v=a%3Db&f=1%2F2"
