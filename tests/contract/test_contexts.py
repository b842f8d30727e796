"""Whose span is whose: the caller's context between chunks, in threads and in tasks."""

from __future__ import annotations

import asyncio
import threading

import pytest
from opentelemetry import trace

from tests.contract.conftest import async_client, stream_of, texts
from tests.contract.scenarios import shows


@shows("caller-stays")
def test_spans_between_chunks_belong_to_the_caller(client, patched):
    tracer = patched.provider.get_tracer("app")
    with tracer.start_as_current_span("request") as outer:
        for index, _ in enumerate(stream_of(client)):
            assert trace.get_current_span() is outer
            with tracer.start_as_current_span(f"chunk {index}"):
                assert trace.get_current_span().parent.span_id == outer.get_span_context().span_id
    assert {span.parent.span_id for span in patched.spans if span.parent} == {outer.get_span_context().span_id}


@shows("caller-stays")
@pytest.mark.parametrize("model", ["m", "error-429", "error-after-2", "cut-after-2"])
def test_the_context_is_restored_whatever_happens(server, patched, quiet, model):
    async def main():
        async with async_client(server) as client:
            with patched.provider.get_tracer("app").start_as_current_span("request") as outer:
                try:
                    async for _ in await stream_of(client, model):
                        assert trace.get_current_span() is outer
                except Exception:  # noqa: BLE001  which it is does not matter here
                    assert model != "m"
                assert trace.get_current_span() is outer
            assert trace.get_current_span() is trace.INVALID_SPAN

    asyncio.run(main())


@shows("caller-stays")
def test_a_generator_finished_by_another_thread(client, patched, quiet):
    stream, said = stream_of(client), []
    said.append(next(stream))
    thread = threading.Thread(target=lambda: said.extend(stream))
    thread.start()
    thread.join()
    assert texts(said) == "You said: one two three"
    assert patched.attributes()["backspan.stream.outcome"] == "complete"
    assert trace.get_current_span() is trace.INVALID_SPAN


@shows("threads")
def test_twenty_threads_of_five_streams(client, patched, quiet):
    tracer, wrong = patched.provider.get_tracer("app"), []

    def work(number):
        with tracer.start_as_current_span(f"thread {number}"):
            for turn in range(5):
                said = f"{number}-{turn}"
                messages = [{"role": "user", "content": said}]
                if texts(stream_of(client, f"m{number}", messages=messages)) != f"You said: {said}":
                    wrong.append(said)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    _parents_are_right(patched, "thread", 100)


@shows("threads")
def test_fifty_tasks(server, patched, quiet):
    async def main():
        async with async_client(server) as client:
            async def ask(number):
                with patched.provider.get_tracer("app").start_as_current_span(f"task {number}"):
                    messages = [{"role": "user", "content": f"number {number}"}]
                    return texts([chunk async for chunk in await stream_of(client, f"m{number}", messages=messages)])

            return await asyncio.gather(*(ask(number) for number in range(50)))

    assert asyncio.run(main()) == [f"You said: number {number}" for number in range(50)]
    _parents_are_right(patched, "task", 50)


def _parents_are_right(patched, kind, count):
    """Each call is a child of the span that has its number."""
    parents = {span.context.span_id: span.name.split()[1] for span in patched.spans if span.name.startswith(kind)}
    calls = [span for span in patched.spans if span.name.startswith("chat")]
    assert len(calls) == count
    assert all(span.name == f"chat m{parents[span.parent.span_id]}" for span in calls)
    assert {span.attributes["backspan.stream.outcome"] for span in calls} == {"complete"}
