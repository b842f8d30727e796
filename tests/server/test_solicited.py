"""Whether a judgement was asked for, from HTTP to the feedback span, to the metrics, and back from a span."""

import pytest
from prometheus_client.parser import text_string_to_metric_families as families

from backspan import semconv
from tests.support.otlp_sink import OtlpSink

from .conftest import token


def _counted(server):
    """{(polarity, solicited): count} of what is shown."""
    found = [sample for family in families(server.metrics()) for sample in family.samples
             if sample.name == semconv.PROM_FEEDBACK_SOLICITED]
    return {(one.labels["polarity"], one.labels["solicited"]): one.value for one in found}


def test_it_is_stored_shown_counted_and_told_to_the_back_end(servers):
    with OtlpSink() as sink:
        gateway = servers("gateway", OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint).start()
        for number, said in ((1, {"solicited": True}), (2, {"solicited": False}), (3, {})):
            assert gateway.vote({"thumbs": "down", "token": token(number), **said})[0] == 201
        shown = [gateway.json("/v1/feedback", Backspan_Token=token(number))[1]["feedback"] for number in (1, 2, 3)]
        assert [vote["solicited"] for (vote,) in shown] == [True, False, None]
        spans = sink.wait_spans(3)
        sent = {span.attributes[semconv.FEEDBACK_TRACE_ID]: span.attributes.get(semconv.FEEDBACK_SOLICITED, "absent")
                for span in spans}
        assert sent == {f"{1:032x}": True, f"{2:032x}": False, f"{3:032x}": "absent"}
        shows = [_counted(gateway) for _ in range(3)]
        assert shows[0] == shows[1] == {("negative", "asked"): 0, ("negative", "volunteered"): 0}
        assert shows[2] == {("negative", "asked"): 1, ("negative", "volunteered"): 1}


@pytest.mark.parametrize("wrong", ["true", 1, 0, [], {}])
def test_anything_but_true_and_false_is_refused(up, wrong):
    status, problem = up.vote({"thumbs": "up", "solicited": wrong, "token": token(7)})
    assert (status, problem["field"]) == (422, "solicited")


def test_the_api_describes_it(up):
    body = up.json("/openapi.json")[1]["paths"]["/v1/feedback"]["post"]["requestBody"]["content"]["application/json"]
    assert body["schema"]["properties"]["solicited"]["type"] == "boolean"
