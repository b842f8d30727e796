"""What the application says reaches the spans made inside, and nothing else."""

import asyncio
import gc
import threading

import pytest

import backspan
from backspan import config, context, semconv
from backspan._turns import Target
from tests.support.answers import answered


def answer(model="m"):
    dims = context.dims(context.current(), model)
    answered(Target("a" * 32, "b" * 16, 1, "resp-1", dims=dims, at=1.0))


def only(spans):
    (span,) = spans.get_finished_spans()
    return span


def test_a_turn_is_a_span_with_everything_said_about_it(spans):
    with backspan.session("c1", user="ann", role="agent", segment="gold", region="eu", consent="improve"):
        with backspan.prompt("support", 7), backspan.variant("tone", "warm"), backspan.turn("ask") as turn:
            pass
    span = only(spans)
    assert span.name == "invoke_workflow ask"
    assert span.attributes[semconv.CONVERSATION_ID] == "c1"
    assert span.attributes[semconv.PROMPT_NAME] == "support"
    assert span.attributes[semconv.PROMPT_VERSION] == "7"
    assert span.attributes[semconv.VARIANT] == "warm"
    assert span.attributes[semconv.CONSENT] == ("improve",)
    assert span.attributes[semconv.TURN_ID] == turn.id == f"{span.context.trace_id:032x}-{span.context.span_id:016x}"


def test_a_user_leaves_only_as_a_pseudonym(spans):
    with backspan.session(user="ann@example.com"), backspan.turn():
        pass
    values = repr(dict(only(spans).attributes))
    assert "ann" not in values
    assert context.pseudonym("ann@example.com") in values
    assert len(context.pseudonym("ann@example.com")) == 32


@pytest.mark.parametrize(("said", "agreed"), [
    (True, ("analytics", "improve")), (False, ("none",)), ("contact", ("contact",)), (["improve"], ("improve",))])
def test_consent_can_be_said_in_several_ways(said, agreed):
    with backspan.session("c", consent=said):
        assert context.current().consent == agreed


def test_two_variants_are_told_apart():
    with backspan.variant("b", "2"), backspan.variant("a", "1"):
        assert context.current().variant == "a=1,b=2"
        with backspan.variant("a", "3"):
            assert context.current().variant == "a=3,b=2"


def test_only_the_allow_list_becomes_labels():
    with backspan.session("c1", user="u", role="r", region="eu", segment="gold"), backspan.prompt("p", 1):
        labels = context.dims(context.current(), "m")
    assert tuple(labels) == semconv.DIMENSIONS
    assert set(labels.values()) == {"m", "p", "1", "gold", ""}


def test_an_answer_outside_of_a_turn_counts_at_once(points):
    answer()
    assert [value for _, value in points(semconv.ANSWERS)] == [1]


def test_a_turn_counts_once_whatever_calls_it_takes(points, spans):
    with backspan.turn():
        answer()
        answer()
    assert [value for _, value in points(semconv.ANSWERS)] == [1]
    assert only(spans).attributes[semconv.REQUEST_MODEL] == "m"


def test_a_turn_without_an_answer_is_not_counted(points):
    with backspan.turn():
        pass
    assert points(semconv.ANSWERS) == []


def test_a_cohort_opens_once(spans, monkeypatch):
    opened = []
    monkeypatch.setattr(context, "on_first_answer", [opened.append])
    with backspan.prompt("p", 1):
        answer()
        answer()
    with backspan.prompt("p", 2):
        answer()
    assert [labels[semconv.PROMPT_VERSION] for labels in opened] == ["1", "2"]


def test_a_target_is_found_by_response_id_and_old_ones_are_forgotten(spans, monkeypatch):
    monkeypatch.setattr("backspan._turns._REMEMBERED", 2)
    for number in range(3):
        context.remember(f"r{number}", Target(response_id=f"r{number}"))
    assert context.lookup("r0") is None
    assert context.lookup("r2") == Target(response_id="r2")


def test_a_turn_inside_a_turn_belongs_to_the_outer_one(spans):
    with backspan.turn("outer") as outer, backspan.turn("inner") as inner:
        assert inner is outer
    assert only(spans).name == "invoke_workflow outer"


def test_a_turn_stays_a_handle_after_it_ended(spans):
    with backspan.turn() as turn:
        answer()
    assert turn.target().dims[semconv.REQUEST_MODEL] == "m"
    assert backspan.current_turn() is None


def test_an_exception_marks_the_turn_and_goes_on(spans):
    with pytest.raises(KeyError), backspan.turn():
        raise KeyError("secret")
    span = only(spans)
    assert (span.status.status_code.name, span.attributes[semconv.ERROR_TYPE]) == ("ERROR", "KeyError")
    assert "secret" not in span.to_json()


def test_switched_off_nothing_is_recorded(spans, monkeypatch):
    monkeypatch.setenv("BACKSPAN", "0")
    config.reload()
    with backspan.session("c"), backspan.prompt("p"), backspan.turn() as turn, backspan.retrieval() as found:
        found.add("1")
        assert context.current() == context.Scope()
    assert turn.id is None
    assert spans.get_finished_spans() == ()


# --- nothing leaks --------------------------------------------------------------------------------------------------
def test_threads_see_nothing_of_each_other(spans):
    seen = []
    with backspan.turn(), backspan.session("c1"):
        thread = threading.Thread(target=lambda: seen.append(context.current()))
        thread.start()
        thread.join()
    assert seen == [context.Scope()]


def test_tasks_inherit_but_do_not_share(spans):
    async def one(number):
        with backspan.session(f"c{number}"), backspan.turn():
            await asyncio.sleep(0)
            return context.current().conversation_id

    async def main():
        return await asyncio.gather(*(one(number) for number in range(50))), context.current()

    ids, left = asyncio.run(main())
    assert ids == [f"c{number}" for number in range(50)]
    assert left == context.Scope()
    traces = {span.context.trace_id for span in spans.get_finished_spans()}
    assert len(traces) == 50


def test_every_kind_of_function_can_be_decorated(spans):
    @backspan.turn("f")
    def function():
        return backspan.current_turn().turn_id

    @backspan.turn("c")
    async def coroutine():
        return backspan.current_turn().turn_id

    assert function() != function()
    assert asyncio.run(coroutine())
    assert function.__name__ == "function"


def test_a_decorated_generator_keeps_its_scope_and_its_caller_stays_clean(spans):
    @backspan.turn("g")
    def generator():
        got = yield backspan.current_turn().turn_id
        assert got == "sent"
        yield backspan.current_turn().turn_id
        return "end"

    items = generator()
    first = next(items)
    assert backspan.current_turn() is None
    assert items.send("sent") == first
    with pytest.raises(StopIteration) as stop:
        next(items)
    assert stop.value.value == "end"
    assert only(spans).name == "invoke_workflow g"


def test_an_exception_thrown_into_a_decorated_generator_arrives(spans):
    @backspan.turn()
    def generator():
        try:
            yield 1
        except KeyError:
            yield 2

    items = generator()
    next(items)
    assert items.throw(KeyError()) == 2


def test_an_abandoned_generator_ends_its_turn(spans):
    @backspan.turn()
    def generator():
        yield 1
        yield 2

    next(generator())
    gc.collect()
    assert only(spans).status.status_code.name == "UNSET"


def test_a_decorated_async_generator_can_be_closed_in_another_task(spans, caplog):
    @backspan.turn("ag")
    @backspan.prompt("p", 1)
    async def generator():
        for _ in range(3):
            await asyncio.sleep(0)
            yield backspan.current_turn().turn_id, context.current().prompt_version

    async def main():
        seen = [item async for item in generator()]
        assert len(set(seen)) == 1
        assert seen[0][1] == "1"
        items = generator()
        await items.__anext__()
        assert backspan.current_turn() is None
        await asyncio.create_task(items.aclose())

    asyncio.run(main())
    assert [span.name for span in spans.get_finished_spans()] == ["invoke_workflow ag"] * 2
    assert caplog.records == []


def test_cancelling_goes_through_a_decorated_async_generator(spans):
    @backspan.turn()
    async def generator():
        await asyncio.sleep(60)
        yield

    async def main():
        task = asyncio.create_task(generator().__anext__())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())


# --- retrieval ------------------------------------------------------------------------------------------------------
def retrieve():
    with backspan.retrieval("where is it", index="kb", version=3, top_k=2) as found:
        found.add(1, score=0.5, source="faq", version=2, age=60.0, content="the secret text")
        found.documents([{"id": "b", "score": 0.9}])


def test_a_retriever_of_ones_own_is_a_span(spans, points):
    retrieve()
    span = only(spans)
    assert (span.name, span.kind.name) == ("retrieval kb", "CLIENT")
    assert span.attributes[semconv.RETRIEVAL_DOCUMENT_IDS] == ("1", "b")
    assert span.attributes[semconv.RETRIEVAL_SCORE_MAX] == 0.9
    assert span.attributes[semconv.RETRIEVAL_TOP_K] == 2
    assert span.attributes[semconv.INDEX_VERSION] == "3"
    assert "secret" not in span.to_json()
    assert "where" not in span.to_json()


def test_with_content_on_query_and_documents_are_recorded(spans, monkeypatch):
    monkeypatch.setenv("BACKSPAN", "content")
    config.reload()
    retrieve()
    span = only(spans)
    assert span.attributes[semconv.RETRIEVAL_QUERY] == "where is it"
    assert "the secret text" in span.attributes[semconv.RETRIEVAL_DOCUMENTS]


def test_the_index_version_becomes_a_label_of_the_turns_answer(points):
    with backspan.turn():
        retrieve()
        answer()
    ((labels, _),) = points(semconv.ANSWERS)
    assert labels[semconv.INDEX_VERSION] == "3"


def test_a_retriever_that_raises_is_marked_and_the_exception_goes_on(spans):
    with pytest.raises(LookupError), backspan.retrieval(index="kb"):
        raise LookupError("secret")
    assert only(spans).attributes[semconv.ERROR_TYPE] == "LookupError"
    assert "secret" not in only(spans).to_json()
