"""The queue that has an end: what goes first when there is no room, and what stays in its place."""

import gc
import tracemalloc
from collections import Counter

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider

from backspan import semconv
from backspan._export.pack import Packer, estimate, request
from backspan._export.queue import SpanQueue
from tests.support.otlp_sink import attributes

CONTENT = {semconv.INPUT_MESSAGES: "question " * 500, semconv.OUTPUT_MESSAGES: "answer " * 500}


class Keep(SpanProcessor):
    def __init__(self):
        self.spans = []

    def on_end(self, span):
        self.spans.append(span)


@pytest.fixture
def make():
    """Call it for an ended span."""
    kept = Keep()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(kept)

    def span(name, scope="backspan", **given):
        provider.get_tracer(scope, "1").start_span(name, attributes=given).end()
        return kept.spans.pop()

    return span


def fill(queue, spans):
    """Add the spans, and pack each at once, as the exporting thread does."""
    packer = Packer()
    for span in spans:
        queue.add(span, estimate(span))
        fresh = queue.unpacked(10)
        queue.packed(sum(cost for _, cost in fresh), packer.pack([one for one, _ in fresh])[0])


def drain(queue):
    """Everything that leaves, as (name, attributes), in order."""
    seen = []
    while batch := queue.take(1 << 20, 100):
        whole = ExportTraceServiceRequest.FromString(request(batch))
        seen += [(span.name, attributes(span.attributes)) for part in whole.resource_spans
                 for scope in part.scope_spans for span in scope.spans]
        queue.land([])
    return seen


def test_what_goes_in_comes_out_in_order(make):
    queue = SpanQueue(1 << 20)
    fill(queue, [make(f"s{n}", **{"n": n, **CONTENT}) for n in range(20)])
    assert drain(queue) == [(f"s{n}", {"n": n, **CONTENT}) for n in range(20)]
    assert (queue.used, len(queue), queue.stripped, queue.dropped) == (0, 0, 0, Counter())


def test_the_oldest_content_goes_first_and_is_marked(make):
    queue = SpanQueue(60_000)
    fill(queue, [make(f"s{n}", n=n, **CONTENT) for n in range(20)])
    seen = drain(queue)
    assert [name for name, _ in seen] == [f"s{n}" for n in range(20)] and queue.dropped == Counter()
    bare = [said.get(semconv.CONTENT_DROPPED, False) for _, said in seen]
    assert bare == sorted(bare, reverse=True) and 0 < sum(bare) == queue.stripped < 20
    assert all(said["n"] == n for n, (_, said) in enumerate(seen))
    assert all((semconv.INPUT_MESSAGES in said) is not gone for gone, (_, said) in zip(bare, seen, strict=True))


def test_then_the_oldest_spans_go_and_judgements_last(make):
    queue = SpanQueue(20_000)
    judged = [make(f"vote{n}", **{semconv.FEEDBACK_ID: f"v{n}"}) for n in range(10)]
    fill(queue, [*judged, *(make(f"s{n}", n=n, **CONTENT) for n in range(100))])
    names = [name for name, _ in drain(queue)]
    lost = queue.dropped["span"]
    assert names == [*(f"vote{n}" for n in range(10)), *(f"s{n}" for n in range(lost, 100))]
    assert 0 < lost < 100 and queue.dropped["feedback"] == 0


def test_judgements_alone_are_dropped_the_oldest_first(make):
    queue = SpanQueue(20_000)
    fill(queue, [make(f"vote{n}", **{semconv.FEEDBACK_ID: f"v{n}"}) for n in range(100)])
    names = [name for name, _ in drain(queue)]
    assert names == [f"vote{n}" for n in range(queue.dropped["feedback"], 100)] and 0 < len(names) < 100


def test_fresh_spans_go_too_when_nothing_packed_is_left_but_judgements_stay(make):
    queue = SpanQueue(50_000)
    queue.add(vote := make("vote", **{semconv.FEEDBACK_ID: "v"}), estimate(vote))
    for n in range(100):
        span = make(f"s{n}")
        queue.add(span, estimate(span))
    names = [span.name for span, _ in queue.unpacked(1000)]
    assert names[0] == "vote" and names[-1] == "s99" and len(names) == 101 - queue.dropped["span"] < 101
    assert queue.used <= queue.limit


def test_what_is_under_way_is_not_touched_and_comes_back_to_its_place(make):
    queue = SpanQueue(40_000)
    fill(queue, [make(f"s{n}", **CONTENT) for n in range(4)])
    flying = queue.take(1 << 20, 2)
    fill(queue, [make(f"t{n}", **CONTENT) for n in range(20)])
    assert all(one.content for one in flying)
    queue.land(flying)
    names = [name for name, _ in drain(queue)]
    assert names[-1] == "t19" and names == [*(f"s{n}" for n in range(4)), *(f"t{n}" for n in range(20))][-len(names):]
    assert queue.used == 0


def test_a_request_has_its_size_and_one_span_at_least(make):
    queue = SpanQueue(1 << 20)
    fill(queue, [make(f"s{n}", **CONTENT) for n in range(10)])
    sizes = []
    while batch := queue.take(20_000, 100):
        sizes.append(len(request(batch)))
        queue.land([])
    assert max(sizes) < 20_500 and sum(sizes) > 70_000
    fill(queue, [make("large", **CONTENT)])
    assert len(queue.take(10, 100)) == 1


def test_spans_of_several_scopes_share_a_request(make):
    packed, lost = Packer().pack([make("a"), make("b", scope="httpx"), make("c")])
    whole = ExportTraceServiceRequest.FromString(request(packed))
    found = {part.scope_spans[0].scope.name: [span.name for span in part.scope_spans[0].spans]
             for part in whole.resource_spans}
    assert (found, lost) == ({"backspan": ["a", "c"], "httpx": ["b"]}, 0)


def test_a_span_that_cannot_be_encoded_is_lost_alone(make, monkeypatch):
    monkeypatch.delenv("BACKSPAN_RAISE")
    bad = make("bad")
    bad._name = object()
    packed, lost = Packer().pack([make("a"), bad, make("b")])
    assert (len(packed), lost) == (2, 1)


def test_the_memory_is_what_was_stated(make):
    """Measured by the allocator; the spans of the first half are packed, as in an outage, and the second half fresh."""
    limit = 2 << 20
    queue = SpanQueue(limit)
    fill(queue, [make("warm")])
    drain(queue)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    facts = {f"gen_ai.request.{n}": f"value {n}" for n in range(20)}
    fill(queue, (make(f"s{n}", **facts, **{semconv.INPUT_MESSAGES: f"{n} " * 2000}) for n in range(1000)))
    packed = tracemalloc.get_traced_memory()[0] - before
    for n in range(1000):
        span = make(f"s{n}", **facts, **{semconv.INPUT_MESSAGES: f"{n} " * 2000})
        queue.add(span, estimate(span))
        del span
    gc.collect()
    whole = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert queue.stripped and queue.dropped["span"]
    assert 0.5 * limit < packed < 1.1 * limit and 0.5 * limit < whole < 1.1 * limit


def test_a_queue_without_an_end_is_noticed(make, monkeypatch):
    """The twin of the above: the limit is what keeps memory down."""
    monkeypatch.setattr(SpanQueue, "_make_room", lambda self: None)
    queue = SpanQueue(20_000)
    fill(queue, [make(f"s{n}", **CONTENT) for n in range(100)])
    assert queue.used > 10 * queue.limit
