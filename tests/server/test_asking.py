"""``POST /v1/feedback/ask``, as far as the attribute on the span and the gauges."""

import pytest

from tests.support.otlp_sink import OtlpSink

from .conftest import token, until


@pytest.fixture(scope="module")
def sink():
    with OtlpSink() as made:
        yield made


@pytest.fixture(scope="module")
def gateway(servers, sink):
    return servers("gateway", "--forward", sink.endpoint).start()


def ask(server, held, **more):
    return server.json("/v1/feedback/ask", "POST", {"token": held, **more})


def test_a_decision_is_kept_and_its_probability_is_on_the_span(gateway, sink):
    held = token(1, rater="p-anna")
    status, decision = ask(gateway, held, surface="chat")
    assert (status, decision) == (200, {"ask": True, "probability": 1.0, "stratum": "|7|chat"})
    assert ask(gateway, held, surface="other") == (200, decision)
    gateway.vote({"thumbs": False, "solicited": True, "token": held})
    (span,) = sink.wait_spans(1, where=lambda one: one.attributes.get("enduser.pseudo.id") == "p-anna")
    assert span.attributes["backspan.feedback.probability"] == 1.0
    gateway.vote({"thumbs": True, "token": token(2, rater="p-bert")})  # nobody asked him
    (span,) = sink.wait_spans(1, where=lambda one: one.attributes.get("enduser.pseudo.id") == "p-bert")
    assert "backspan.feedback.probability" not in span.attributes


def test_the_token_may_be_in_the_body_or_in_either_header(gateway):
    held = token(3)
    asked = [gateway.json("/v1/feedback/ask", "POST", {"token": held}),
             gateway.json("/v1/feedback/ask", "POST", {}, Backspan_Token=held),
             gateway.json("/v1/feedback/ask", "POST", {}, Authorization=f"Bearer {held}")]
    assert [status for status, _ in asked] == [200] * 3 and asked[0] == asked[1] == asked[2]


def test_one_person_is_not_asked_more_often_than_the_cap(gateway):
    decisions = [ask(gateway, token(n, rater="p-carl"))[1] for n in range(10, 15)]
    assert [one["ask"] for one in decisions] == [True, True, True, False, False]
    assert [one["probability"] for one in decisions] == [1.0, 1.0, 1.0, 0.0, 0.0]


def test_the_estimates_are_told_and_exposed(gateway):
    held = token(20, rater="p-dora")
    ask(gateway, held)
    gateway.vote({"thumbs": False, "token": held})

    def shown():
        return gateway.json("/api/feedback/estimates?name=user_thumbs")[1]

    found = until(lambda: (one := shown())["answered"] and one)
    assert found["hajek"]["value"] == 1.0 and found["asked"] >= 1
    until(lambda: "backspan_feedback_estimate" in gateway.metrics())


@pytest.mark.parametrize(("body", "status"), [
    ({"token": "bs1." + "A" * 60}, 401), ({}, 401), ({"token": 7}, 401), ([], 422), (b"{", 400),
])
def test_a_wrong_request_is_refused(gateway, body, status):
    assert gateway.json("/v1/feedback/ask", "POST", body)[0] == status
    assert ask(gateway, token(30), more=1)[0] == 422
    assert ask(gateway, token(30), surface="a\nb")[0] == 422
