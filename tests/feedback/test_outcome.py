"""`record_outcome`: in the process, for a gateway, with the variable unset, and what it refuses."""

import pytest

import backspan
from backspan import semconv
from backspan.context import joined, remember
from backspan.feedback.outcome import read_outcome
from tests.support.answers import answered

from .conftest import SPAN_ID, TRACE_ID, target
from .test_forward import Gateway


@pytest.fixture
def gateway(setenv):
    server = Gateway()
    setenv(BACKSPAN_GATEWAY_URL=server.url)
    yield server
    server.shutdown()
    server.server_close()


def test_by_target_it_is_feedback(out):
    receipt = backspan.record_outcome(target(), "ticket_resolved", True)
    assert (receipt.name, receipt.status) == ("outcome_ticket_resolved", "add")
    assert backspan.record_outcome(target(), "outcome_ticket_resolved", True).status == "unchanged"
    assert backspan.record_outcome(target(), "ticket_resolved", False).status == "change"
    first = out.spans[0].attributes
    assert (first[semconv.FEEDBACK_SOURCE], first[semconv.FEEDBACK_POLARITY]) == ("outcome", "positive")
    assert first[semconv.FEEDBACK_TRACE_ID] == TRACE_ID


def test_by_the_join_key_of_an_answer_of_this_process(out):
    remember(joined("ticket-1"), target())
    assert backspan.record_outcome(name="order_kept", join_key="ticket-1").status == "add"
    assert out.spans[0].attributes[semconv.FEEDBACK_SPAN_ID] == SPAN_ID


def test_an_unknown_key_without_a_gateway_is_ignored(out):
    assert backspan.record_outcome(name="order_kept", join_key="ticket-2").status == "ignored"
    assert backspan.record_outcome(name="order_kept", id="7", assisted=False).status == "ignored"
    assert out.spans == ()


def test_at_a_gateway(gateway, out):
    asked = [backspan.record_outcome(name="order_kept", value=2.5, join_key="order-9", id="evt-1", time=1.7e9),
             backspan.record_outcome((TRACE_ID, SPAN_ID), "test_passed", False),
             backspan.record_outcome(name="order_kept", assisted=False, id="evt-2")]
    assert [one.status for one in asked] == ["queued"] * 3
    assert backspan.flush(60)
    assert [path for path, _, _ in gateway.seen] == ["/v1/outcomes"] * 3
    told = [body["outcomes"][0] for body in gateway.bodies]
    assert told[0] == {"name": "outcome_order_kept", "value": 2.5, "join_key": "order-9", "id": "evt-1", "time": 1.7e9}
    assert told[1]["target"]["trace_id"] == TRACE_ID and told[1]["value"] is False
    assert told[2] == {"name": "outcome_order_kept", "value": True, "assisted": False, "id": "evt-2"}


@pytest.mark.parametrize(("arguments", "field"), [
    ({}, "name"), ({"name": "Bad Name"}, "name"), ({"name": "a", "value": "yes"}, "value"),
    ({"name": "a", "value": None}, "value"), ({"name": "a", "value": float("nan")}, "value"),
    ({"name": "a", "join_key": ""}, "join_key"), ({"name": "a", "join_key": "k" * 257}, "join_key"),
    ({"name": "a", "join_key": 7}, "join_key"), ({"name": "a", "assisted": "no"}, "assisted"),
    ({"name": "a", "time": "now"}, "time"), ({"name": "a", "target": "resp-1", "join_key": "k"}, "join_key")])
def test_what_is_refused(arguments, field):
    with pytest.raises(backspan.feedback.fields.InvalidFeedback) as error:
        backspan.record_outcome(**arguments)
    assert error.value.field == field


def test_the_name_has_its_prefix_once():
    assert read_outcome({"name": "outcome_a", "value": 1}).judgement.name == "outcome_a"
    assert read_outcome({"name": "a", "value": 1}).judgement.name == "outcome_a"


def test_a_turn_says_its_key(out, setenv):
    setenv(BACKSPAN="1")
    with backspan.turn("support", join_key="ticket-3") as turn:
        answered(target())
    [span] = [one for one in out.spans if one.name.startswith("invoke_workflow")]
    assert span.attributes[semconv.JOIN_KEY] == "ticket-3"
    assert backspan.record_outcome(name="order_kept", join_key="ticket-3").status == "add"
    assert out.spans[-1].attributes[semconv.TURN_ID] == turn.id
