"""Votes by document over HTTP, as gauges, on feedback spans and in the terminal."""

import asyncio
import json
import subprocess
import sys
import time

import pytest
from prometheus_client.parser import text_string_to_metric_families as prometheus

from backspan import semconv
from backspan.feedback.model import feedback_id
from backspan.server import documents
from backspan.server.documents import Gauges, label_of
from backspan.store import Policy, Store, Vote
from backspan.store.model import Call
from tests.support import databases
from tests.support.otlp_sink import OtlpSink
from tests.support.processes import environment

from .conftest import DIMS, token, until

EMAIL = "mail-from-jane.roe@example.com"


def retrieved(number, *ids, index="kb", version="v1"):
    """A request with the spans of one answer: what it found, and what the model said."""
    trace, turn = f"{number:032x}", f"turn-{number}"
    now = int(time.time() * 1e9)

    def span(span_id, **said):
        values = {semconv.TURN_ID: turn, **{key: value for key, value in said.items() if value}}
        return {"traceId": trace, "spanId": span_id, "name": "x", "startTimeUnixNano": str(now - 10**9),
                "endTimeUnixNano": str(now), "attributes": [{"key": key, "value": _value(v)} for key, v in
                                                             values.items()]}

    spans = [
        span(f"{number:014x}dd", **{semconv.OPERATION_NAME: semconv.RETRIEVAL, semconv.INDEX_NAME: index,
                                    semconv.INDEX_VERSION: version, semconv.RETRIEVAL_DOCUMENT_IDS: list(ids)}),
        span(f"{number:016x}", **{semconv.OPERATION_NAME: semconv.CHAT, semconv.REQUEST_MODEL: "m-1"}),
    ]
    place = [{"key": key, "value": {"stringValue": DIMS[key]}} for key in (semconv.SERVICE_NAME, semconv.ENVIRONMENT)]
    return {"resourceSpans": [{"resource": {"attributes": place}, "scopeSpans": [{"spans": spans}]}]}


def _value(value):
    if isinstance(value, list):
        return {"arrayValue": {"values": [{"stringValue": one} for one in value]}}
    return {"stringValue": value}


def fill(server):
    """Four judged answers on three documents."""
    for number, (ids, thumbs) in enumerate([(("a", EMAIL), "down"), (("a", "b"), "down"), (("b",), "up"),
                                            (("b",), "up")], start=1):
        assert server.json("/v1/traces", "POST", retrieved(number, *ids))[0] == 200
        target = {"trace_id": f"{number:032x}", "span_id": f"{number:016x}"}
        assert server.vote({"thumbs": thumbs, "target": target})[0] == 201


@pytest.fixture(scope="module")
def filled(servers):
    server = servers("gateway", BACKSPAN_API_KEY="secret").start()
    fill(server)
    return server


def gauges(server):
    found = {}
    for family in prometheus(server.metrics()):
        if family.name.startswith("backspan_document"):
            assert family.type == "gauge"
            found[family.name] = family.samples
    return found


def test_the_worst_come_first_with_all_that_is_known(filled):
    status, found = filled.json("/api/documents")
    assert status == 200 and found["cursor"] is None and found["until"] is None
    assert found["since"] == found["votes_since"] == found["answers_since"]
    first, *rest = found["documents"]
    assert {one["document"] for one in rest} == {EMAIL, "b"}
    assert first == {
        "service": "chat", "environment": "test", "index_name": "kb", "index_version": "v1", "document": "a",
        "votes": {"negative": 2, "neutral": 0, "positive": 0}, "judged": 2, "bad": 2, "shown": 2, "position": 1.0,
        "share": first["share"], "lift": first["lift"]}
    assert first["share"]["value"] == 1 and first["lift"]["low"] < 1 < first["lift"]["value"]


def test_pages_filters_and_what_is_wrong(filled):
    one = filled.json("/api/documents?limit=1")[1]
    assert [row["document"] for row in one["documents"]] == ["a"] and one["cursor"] == "1"
    more = filled.json(f"/api/documents?limit=5&cursor={one['cursor']}")[1]
    assert len(more["documents"]) == 2 and more["cursor"] is None
    [one] = filled.json("/api/documents?document=b&index=kb&version=v1")[1]["documents"]
    assert one["document"] == "b"
    for nothing in ("version=v2", "source=evaluator", f"since={time.time() + 60}"):
        assert filled.json(f"/api/documents?{nothing}")[1]["documents"] == []
    for wrong in ("cursor=x", "order=worst", "limit=101", "source=me", "since=-1"):
        assert filled.json(f"/api/documents?{wrong}")[0] == 422, wrong


def test_only_this_machine_and_the_holder_of_the_key_may_read(filled):
    assert filled.json("/api/documents", X_Forwarded_For="198.51.100.7")[0] == 401
    key = {"Authorization": "Bearer secret", "X_Forwarded_For": "198.51.100.7"}
    assert filled.json("/api/documents", **key)[0] == 200


# --- gauges ---------------------------------------------------------------------------------------------------------
def test_the_gauges_say_what_the_api_says(filled):
    said = until(lambda: gauges(filled))
    rows = {one["document"]: one for one in filled.json("/api/documents")[1]["documents"]}
    worst = {"document_id": "a", "backspan_index_name": "kb", "backspan_index_version": "v1", "service_name": "chat",
             "deployment_environment_name": "test", "instance": "gateway"}

    def shown(metric, label):
        samples = [one for one in said[metric] if worst.items() <= one.labels.items()]
        assert all(one.labels.keys() == {*worst, *([label] if label else [])} for one in samples)
        return {one.labels.get(label, ""): one.value for one in samples}

    assert shown(semconv.PROM_DOCUMENT_VOTES, "polarity") == rows["a"]["votes"]
    assert shown(semconv.PROM_DOCUMENT_JUDGED, "") == {"": 2}
    assert shown(semconv.PROM_DOCUMENT_SHARE, "stat") == pytest.approx(rows["a"]["share"])
    assert shown(semconv.PROM_DOCUMENT_LIFT, "stat") == pytest.approx(
        {name: value for name, value in rows["a"]["lift"].items() if value is not None})


def test_a_label_holds_no_mail_address(filled):
    ids = {one.labels["document_id"] for one in until(lambda: gauges(filled))[semconv.PROM_DOCUMENT_VOTES]}
    assert {"a", "b"} < ids and len(ids) == 3
    assert "example.com" not in filled.metrics()


@pytest.mark.parametrize("id", ["returns", "42", "docs/2024/handbook.md#7", "550e8400-e29b-41d4-a716-446655440000",
                                "41111111-1111-1111-1111-111111111111", ""])
def test_an_id_that_says_nothing_of_anybody_stays_as_it_is(id):
    assert label_of(id) == id


def test_ids_that_are_masked_or_cut_stay_apart():
    given = [EMAIL, "mail-from-john.doe@example.com", "x" * 500, "x" * 501]
    made = [label_of(id) for id in given]
    assert len({*made}) == len(given) and max(map(len, made)) <= documents.MOST_LABEL
    assert not any("@" in one or "doe" in one for one in made) and made == [label_of(id) for id in given]


@pytest.fixture
def store(tmp_path):
    store = Store(databases.at(tmp_path / "s.db"), identify=feedback_id, policy=Policy(False, False))
    yield store
    store.close()
    databases.drop(tmp_path / "s.db")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """A machine that is busy must not fail a test: a scrape here waits until the reading is done."""
    monkeypatch.setattr(documents, "_PATIENCE", 60.0)


def judge(store, count, first=0):
    """As many bad answers, each on a document of its own."""
    now = time.time()
    numbers = range(first, first + count)
    store.put_spans([Call(f"{n:032x}", f"{n:016x}", semconv.CHAT, now, now, turn_id=f"t{n}",
                          documents=[{"id": f"d{n}"}]) for n in numbers]).result()
    store.put_votes([Vote(f"{n:032x}", semconv.USER_THUMBS, now, polarity=semconv.NEGATIVE, trace_id=f"{n:032x}",
                          span_id=f"{n:016x}", dims=DIMS) for n in numbers]).result()


def read(gauges, times=1):
    async def rows():
        return [len(await gauges.rows()) for _ in range(times)]

    return asyncio.run(rows())


def test_however_many_documents_there_are_the_gauges_are_few(store):
    judge(store, 60)
    gauges = Gauges(store)
    assert read(gauges) == [documents.SHOWN]
    families = list(documents.families(asyncio.run(gauges.rows()), "gateway"))
    assert sum(len(family.samples) for family in families) <= documents.SHOWN * 10


def test_they_are_read_once_a_minute(store, monkeypatch):
    judge(store, 2)
    gauges = Gauges(store)
    assert read(gauges) == [2]
    judge(store, 1, 2)
    assert read(gauges, 3) == [2, 2, 2]
    monkeypatch.setattr(documents, "PAUSE", 0.0)
    monkeypatch.setattr(documents, "_SHARE_OF_TIME", 1e9)
    assert read(Gauges(store)) == [3], "the twin: another reading sees it"


def test_a_scrape_goes_on_without_them(store, monkeypatch):
    monkeypatch.delenv("BACKSPAN_RAISE", raising=False)
    judge(store, 1)
    gauges = Gauges(store)
    assert read(gauges) == [1]
    monkeypatch.setattr(gauges, "_due", 0.0)
    store.write(lambda conn: conn.exec_driver_sql("DROP TABLE calls")).result()
    assert read(gauges) == [1], "what was read last"


# --- feedback spans -------------------------------------------------------------------------------------------------
def test_a_judgement_says_what_the_answer_rests_on_if_it_is_known(servers):
    with OtlpSink() as sink:
        gateway = servers("gateway", OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
        gateway.json("/v1/traces", "POST", retrieved(1, "b", "a"))
        gateway.vote({"thumbs": "down", "token": token(1)})
        [known] = sink.wait_spans(1)
        gateway.vote({"thumbs": "down", "token": token(2)})
        early = sink.wait_spans(2)[1]
    assert known.attributes[semconv.RETRIEVAL_DOCUMENT_IDS] == ["b", "a"]
    assert semconv.RETRIEVAL_DOCUMENT_IDS not in early.attributes


def test_a_judgement_is_sent_once_whatever_comes_after_it(servers):
    """Tempo shows a span that came twice, though it is the same, twice: so late documents are not sent after it."""
    with OtlpSink() as sink:
        gateway = servers("gateway", OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
        gateway.vote({"thumbs": "down", "token": token(1)})
        sink.wait_spans(1)
        until(lambda: gateway.json("/api/outbox")[1]["waiting"] == 0)
        gateway.json("/v1/traces", "POST", retrieved(1, "a"))
        gateway.vote({"thumbs": "down", "token": token(2)})
        sent = [span.attributes[semconv.FEEDBACK_TRACE_ID] for span in sink.wait_spans(2)]
    assert sent == [f"{number:032x}" for number in (1, 2)]


# --- terminal -------------------------------------------------------------------------------------------------------
def shown(*arguments, **env):
    return subprocess.run([sys.executable, "-m", "backspan", "feedback", "documents", *arguments],
                          env=environment(**env), capture_output=True, text=True, timeout=60)


def test_the_terminal_shows_the_same(filled):
    done = shown("--gateway", filled.url)
    assert (done.returncode, done.stderr) == (0, "")
    head, first, *_ = done.stdout.splitlines()
    assert head.split()[:4] == ["document", "index", "negative", "positive"]
    assert first.split()[:7] == ["a", "kb@v1", "2", "0", "2", "100.0", "%"]
    done = shown("--gateway", filled.url, "--json", "--limit", "1", "--order", "excess")
    asked = filled.json("/api/documents?limit=1&order=excess")[1]["documents"]
    assert json.loads(done.stdout)["documents"] == asked


def test_the_file_says_what_the_gateway_says_and_a_document_that_stands_out_is_a_finding(store, tmp_path):
    judge(store, 30)
    now = time.time()
    store.put_spans([Call(f"{n:032x}", f"{n:016x}", semconv.CHAT, now, now, turn_id=f"t{n}",
                          documents=[{"id": "bad\x1b[31m" if n < 30 else "good"}]) for n in range(60)]).result()
    store.put_votes([Vote(f"{n:032x}", semconv.USER_THUMBS, now, polarity=semconv.POSITIVE, trace_id=f"{n:032x}",
                          span_id=f"{n:016x}", dims=DIMS) for n in range(30, 60)]).result()
    done = shown(*databases.arguments(tmp_path / "s.db"))
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[1].startswith("* bad?[31m") and "\x1b" not in done.stdout
    assert shown(*databases.arguments(tmp_path / "s.db"), "--document", "good").returncode == 0


def test_nothing_to_show_and_what_is_wrong(tmp_path, store):
    done = shown(*databases.arguments(tmp_path / "s.db"), "--since", "1h", "--until", "now")
    assert done.returncode == 0 and done.stdout.startswith("no votes on answers that rest on a document, since ")
    for wrong in (["--db", str(tmp_path / "none")], ["--limit", "0"], ["--since", "x"], ["--order", "x"],
                  ["--gateway", "http://127.0.0.1:1"]):
        assert shown(*wrong).returncode == 2, wrong
