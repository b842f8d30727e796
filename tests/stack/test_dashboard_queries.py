"""Every query of every dashboard, as Grafana sends it, against the real Prometheus and Tempo, filled by applications.

What nothing sends yet is sent over OTLP under the catalogue's names (`tests.stack.waiting`).
"""

from __future__ import annotations

import json
import time
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml
from tests.stack import waiting
from tests.stack.backend import NotFound, get, post, until
from tests.stack.conftest import Alarm, House
from tests.stack.traffic import busy_app, rag_chat, visit
from tests.support.grafana.ask import Question, Sources, panels, questions, variables
from tests.support.grafana.expand import View
from tests.support.grafana.files import committed
from tests.support.grafana.frames import frame
from tests.support.openai_server import OpenAIServer

from backspan._assets import asset
from backspan.dashboards.promql import PerUnit, Share

pytestmark = pytest.mark.stack
DOCUMENTS = committed(asset("grafana/dashboards"))
CHOSEN = {"conversation": "visit-0", "document": "8", "score": "0.9", "window": "5m"}
"""What a reader types or chooses where the default shows nothing yet."""


@dataclass(frozen=True)
class Filled:
    """A house full of life."""

    house: House
    sources: Sources

    def view(self, document: dict[str, Any]) -> View:
        now = time.time()
        return self.sources.opened(document, View(now - 1800, now), **CHOSEN)


def judge_late(house: House, document: str) -> None:
    """A slow reader judges an answer that rests on a document: by then the gateway knows what it rests on."""

    def resting() -> dict[str, Any] | None:
        found = get(house.backend.ports.gateway, "/api/turns", limit="500")["turns"]
        return next((one for one in found if any(str(each.get("id")) == document for each in one["documents"] or ())),
                    None)

    assert house.backend.vote(until(resting, f"an answer that rests on {document}"), "down", "a slow reader") == "add"


def tell(house: House) -> None:
    """What people did with answers that were judged, and what came of the work, with a model and without."""
    port = house.backend.ports.gateway
    judged = [one for one in get(port, "/api/turns", limit="500")["turns"] if one["feedback"]][:6]
    assert judged
    targets = [{"trace_id": one["trace_id"], "span_id": one["span_id"]} for one in judged]
    signals = [{"name": "implicit_copy", "value": 0.5, "target": one} for one in targets]
    assert post(port, "/v1/signals", {"consent": ["analytics"], "signals": signals})[1]["refused"] == 0
    outcomes = [{"name": "ticket_resolved", "value": number % 2 == 0, "target": one}
                for number, one in enumerate(targets)]
    alone = [{"name": "ticket_resolved", "value": number < 2, "assisted": False, "id": f"alone-{number}"}
             for number in range(4)]
    assert post(port, "/v1/outcomes", {"outcomes": [*outcomes, *alone]})[1]["refused"] == 0


def doubt(house: House) -> None:
    """What does not count: a question passed over, a vote that is held, a token that nobody made. And a comparison."""
    port = house.backend.ports.gateway
    first, second, third = ({"trace_id": one["trace_id"], "span_id": one["span_id"]}
                            for one in get(port, "/api/turns", limit="500")["turns"][:3])
    assert post(port, "/v1/feedback", {"target": first, "name": "user_thumbs", "skip": True})[1]["status"] == "skip"
    for rater, rank in (("one", 2), ("another", 1)):  # a better one, and a tie
        pair = [{"target": second, "rank": 1}, {"target": third, "rank": rank}]
        said = {"name": "user_preference", "candidates": pair, "rater": rater}
        assert post(port, "/v1/feedback", said)[1]["status"] == "add"
    held = post(port, "/v1/feedback", {"target": first, "thumbs": "down", "rater": "a doubtful one"})[1]["id"]
    assert post(port, "/api/quarantine", {"ids": [held], "action": "hold"}, method="PUT")[1]["done"] == 1
    with pytest.raises(HTTPError, match="401"):
        post(port, "/v1/feedback", {"token": "made up", "thumbs": "up"})


@pytest.fixture(scope="module")
def filled(house: House, alarm: Alarm, model: OpenAIServer, tmp_path_factory: pytest.TempPathFactory
           ) -> Generator[Filled]:
    """The applications run for as long as the tests ask; counters that grew once have grown in any range after it."""
    ports = house.backend.ports
    version = tmp_path_factory.mktemp("live") / "live"
    version.write_text("v1", encoding="utf-8")
    with rag_chat(house, version) as app, busy_app(house, model):
        visit(house, app, 0, 20)
        waiting.send(f"http://127.0.0.1:{ports.otlp_http}")
        version.write_text("v2", encoding="utf-8")
        visit(house, app, 20, 20)
        judge_late(house, CHOSEN["document"])
        tell(house)
        doubt(house)
        yield Filled(house, Sources(f"http://127.0.0.1:{ports.prometheus}", f"http://127.0.0.1:{ports.tempo}"))


def unanswered(filled: Filled, document: dict[str, Any], asked: list[Question]) -> list[Question]:
    """Questions that get no answer, and those that ask for exemplars and get none."""
    view, ask = filled.view(document), filled.sources

    def dumb(one: Question) -> bool:
        return not ask.answers(one, view) or bool(one.target.get("exemplar") and not ask.exemplars(one, view))

    return [one for one in asked if dumb(one)]


def assert_answered(filled: Filled, document: dict[str, Any], seconds: float = 90) -> None:
    """Every question gets an answer in time; what was answered once is not asked again."""
    left = questions(document)

    def complete() -> bool | None:
        left[:] = unanswered(filled, document, left)
        return True if not left else None

    try:
        until(complete, "data for every query", seconds)
    except NotFound:
        pytest.fail(f"no data for: {[one.name for one in left]}")


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_query_returns_data(filled: Filled, name: str) -> None:
    document = DOCUMENTS[name]
    assert len(questions(document)) >= 7
    assert_answered(filled, document)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_variable_offers_values(filled: Filled, name: str) -> None:
    document = DOCUMENTS[name]
    for variable in (one for one in variables(document) if one["type"] not in ("datasource", "textbox")):
        until(lambda variable=variable: filled.sources.options(variable, filled.view(document)) or None,
              f"values of {variable['name']}")


def test_every_link_of_a_cell_leads_to_data(filled: Filled) -> None:
    followed = 0
    for document in DOCUMENTS.values():
        view = filled.view(document)
        for panel in (one for one in panels(document) if one["type"] == "table"):
            followed += sum(_follow(filled, url) for url in _urls(frame(panel, filled.sources, view), view))
    assert followed >= 8


def _urls(table: dict[str, Any], view: View) -> list[str]:
    """The links of a table, for the first row in which their cell has a value."""
    found = [(one["name"], link["url"]) for one in table["columns"] for link in one["style"].get("links", [])]
    firsts = {name: next((row for row in table["rows"] if row.get(name)), None) for name, _ in found}
    return [view.url(url, {key: str(value) for key, value in row.items()}, str(row[name]))
            for name, url in found if (row := firsts[name]) is not None]


def _follow(filled: Filled, url: str) -> bool:
    """Run what a link into Explore asks; a dashboard's queries are tested on their own."""
    there = urlsplit(url)
    if there.path != "/explore":
        return False
    (pane,) = json.loads(parse_qs(there.query)["panes"][0]).values()
    query = pane["queries"][0]["query"]
    if not query.startswith("{"):
        assert filled.house.backend.find_trace(query), url
    else:
        found = get(filled.house.backend.ports.tempo, "/api/search", q=query)
        assert "traces" in found, url
    return True


def test_exemplars_resolve_to_traces(filled: Filled) -> None:
    asked = [one for one in questions(DOCUMENTS["overview"]) if one.target.get("exemplar")]
    assert len(asked) == 3

    def shown(one: Question) -> list[dict[str, Any]] | None:
        return filled.sources.exemplars(one, filled.view(DOCUMENTS["overview"])) or None

    for one in asked:
        labels = until(lambda one=one: shown(one), one.name)[-1]["labels"]
        assert filled.house.backend.find_trace(labels["trace_id"]), one.name


def test_the_provisioned_ways_between_traces_and_feedback_find_something(filled: Filled) -> None:
    """From an answer's trace to its judgements (correlation), and to the metrics of its service."""
    text = (asset("grafana/provisioning") / "datasources/backspan.yaml").read_text(encoding="utf-8")
    tempo = next(one for one in yaml.safe_load(text.replace("$$", "$"))["datasources"] if one["uid"] == "tempo")
    bad = '{ span.backspan.feedback.polarity = "negative" } | select(span.backspan.feedback.trace_id)'
    found = until(lambda: filled.house.backend.search(bad) or None, "bad judgements")
    judged = found[0]["backspan.feedback.trace_id"]
    (way,) = tempo["correlations"]
    back = way["config"]["target"]["query"].replace("${traceID}", judged)
    until(lambda: filled.house.backend.search(back) or None, back)
    (query,) = tempo["jsonData"]["tracesToMetrics"]["queries"]
    there = query["query"].replace("$__tags", 'service_name="rag-chat"')
    until(lambda: filled.house.backend.query(there) or None, there)


def test_a_chosen_version_narrows_the_tables_of_spans(filled: Filled) -> None:
    document = DOCUMENTS["feedback"]
    latest = next(panel for panel in panels(document) if panel["title"] == "Latest bad answers")

    def versions(chosen: str) -> set[str]:
        view = filled.sources.opened(document, filled.view(document), version=chosen)
        return {row["gen_ai.prompt.version"] for row in filled.sources.spans(latest["targets"][0], view)}

    assert until(lambda: versions("v2") or None, "bad answers to v2") == {"v2"}
    assert versions("no such version") == set()


# --- intervals --------------------------------------------------------------------------------------------------------
def value(house: House, promql: str) -> float:
    (only,) = house.backend.query(promql)
    return float(only["value"][1])


@pytest.mark.parametrize(("bad", "n"), [(0, 10), (3, 20), (20, 20), (130, 1000)])
def test_intervals_are_those_of_the_books(house: House, bad: int, n: int) -> None:
    """Wilson's: the p at which the standardised difference is 1.96. Poisson: the same for a mean of counts."""
    share, per_unit = Share(f"vector({bad})", f"vector({n})"), PerUnit(f"vector({bad})", f"vector({n})")
    assert value(house, share.rate) == bad / n
    for end in (value(house, share.low), value(house, share.high)):
        assert (bad / n - end) ** 2 == pytest.approx(1.96**2 * end * (1 - end) / n, rel=1e-3, abs=1e-6)
    for end in (value(house, per_unit.low), value(house, per_unit.high)):
        assert (bad / n - end) ** 2 == pytest.approx(1.96**2 * end / n, rel=1e-3, abs=1e-6)


def test_the_difference_is_that_of_agresti_and_caffo(house: House) -> None:
    here, there = Share("vector(12)", "vector(40)"), Share("vector(5)", "vector(50)")
    low, middle, high = (value(house, one) for one in here.above(there))
    p, q = 13 / 42, 6 / 52
    half = 1.96 * (p * (1 - p) / 42 + q * (1 - q) / 52) ** 0.5
    assert (low, middle, high) == pytest.approx((p - q - half, 12 / 40 - 5 / 50, p - q + half))


def test_what_nobody_counts_is_not_shown_as_zero(house: House) -> None:
    absent, n = "backspan_no_such_metric_total", "vector(20)"
    assert house.backend.query(PerUnit(absent, n, sparse=False).rate) == []
    assert value(house, PerUnit(absent, n).rate) == 0


# --- twins ------------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("target", [
    {"refId": "A", "expr": "sum(increase(backspan_no_such_total{service_name=~\"$service\"}[$window]))"},
    {"refId": "A", "expr": "0 / 0 * vector(0)", "instant": True},
    {"refId": "A", "queryType": "traceql", "query": "{ span.backspan.no.such = \"x\" }"},
    {"refId": "A", "queryType": "traceql", "query": "{ span.gen_ai.evaluation.score.value < 1 }"},
    {"refId": "A", "expr": "sum(up)", "exemplar": True},
], ids=["metric", "not-a-number", "attribute", "no-decimal-point", "exemplar"])
def test_a_query_without_data_is_noticed(filled: Filled, target: dict[str, Any]) -> None:
    assert unanswered(filled, DOCUMENTS["overview"], [Question("x", target)])


def test_a_link_to_a_trace_that_is_not_there_is_noticed(filled: Filled) -> None:
    panes = json.dumps({"a": {"queries": [{"query": "f" * 32}]}})
    with pytest.raises((NotFound, AssertionError)):
        _follow(filled, f"/explore?panes={panes}")


def test_a_variable_that_offers_nothing_is_noticed(filled: Filled) -> None:
    nothing = {"type": "query", "query": "label_values(backspan_no_such_total, service_name)"}
    assert filled.sources.options(nothing, filled.view(DOCUMENTS["overview"])) == []
