"""What goes wrong in instrumentations of model clients, in production, one line each.

A test here shows that it does not go wrong with us; `shows` names the scenarios of a test.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

STREAMS = {
    "left-in-with": "A stream left by `break` inside `with` has ended at the end of the block, with what was seen.",
    "left-in-async-with": "The same for `async with`.",
    "closed": "`close()`, `aclose()` and `response.close()` end the call, and still close the response.",
    "never-read": "A stream that nobody reads gives one span when it is collected.",
    "left-without-close": "A stream left by `break` and dropped is one span, and no error.",
    "cut": "A connection that drops is an error with what was seen; the application gets the same exception.",
    "error-event": "An error inside a stream is an error of the provider's type.",
    "cancelled-reading": "A task that is cancelled while it reads stays cancelled, and the span says so.",
    "cancelled-waiting": "A task that is cancelled before the answer leaves one span.",
    "failed-response": "A response that ended as `failed` or `incomplete` is not reported as fine.",
    "open-at-exit": "A stream that is open at the end of the process is exported.",
    "refused-stream": "A stream that is refused leaves its error, and the spans around it, whole.",
    "one-record": "One span covers a stream from the request to the last chunk.",
    "ended-once": "No span is ended twice, whatever is closed, dropped or unpatched in which order.",
}
TYPES = {
    "managers": "`with` and `async with` work on streams.",
    "same-in-with": "What `with` hands out is watched as well.",
    "native": "A stream is the client's own class, with its response and its headers.",
    "raw": "`with_raw_response` of a stream: headers, `parse()`, usage; chat and responses; sync and async.",
    "same-lines": "`with_streaming_response` gives the lines that the provider sent.",
    "pages": "Pages of other resources work, awaited or iterated.",
    "wait-for": "What is awaited can be awaited by `asyncio.wait_for`.",
    "parsed": "Parsed answers stay parsed, and no warning is said.",
}
REQUESTS = {
    "messages-iterator": "Messages given as an iterator reach the provider.",
    "tools-iterator": "Tools given as an iterator reach the provider.",
    "headers": "The application's headers are not changed, and no trace header goes to the provider.",
    "same-bytes": "The bytes of the request are the same, with `metadata` and `store` too.",
    "no-usage-forced": "`stream_options` is as the application says.",
    "bad-arguments": "Wrong arguments raise what the client raises.",
}
VALUES = {
    "omitted": "`omit` and `NOT_GIVEN` are neither recorded nor complained about.",
    "all-null": "An answer in which everything is null is returned.",
    "sdk-objects": "A history of the client's own objects, and bytes, can be sent and recorded.",
    "null-delta": "Chunks without choices or without a delta reach the application.",
    "error-body": "An error with status 200 is returned, and is an error.",
    "azure-chunks": "First chunks without choices and last ones with usage only are understood.",
    "azure-usage": "Usage is the server's; nothing is downloaded or guessed.",
    "tool-deltas": "Tool calls that come in interleaved pieces are put together.",
    "billed": "An answer that cannot be parsed has its usage recorded.",
    "provider": "The provider is told from client and host.",
}
LIFE = {
    "our-faults": "Whatever of ours raises, the application sees nothing of it.",
    "their-faults": "Whatever of OpenTelemetry's raises, the application sees nothing of it.",
    "sync-in-loop": "A synchronous call inside a running loop makes no thread and no loop.",
    "unknown-client": "A client that we do not know is left alone, and that is said once.",
    "no-network": "Nothing is connected to but the provider and the Collector.",
    "fork": "Processes forked after a call export, and do not hang.",
    "short-life": "A process that ends at once exports; one whose Collector is down ends in time.",
    "memory": "Thousands of calls and streams leave nothing behind.",
}
FEEDBACK = {
    "given-span-wins": "Feedback for a span goes to that span, whichever span is current.",
    "many-votes": "Several judgements of one span are kept, a repeated one is one, a rater need not be named.",
    "by-response-id": "An answer can be judged by its response id.",
    "answer-is-target": "The answer itself tells its span.",
}
NEIGHBOURS = {
    "one-model-span": "A framework on top of the client gives one model span a call, counted once.",
    "twice": "Installed twice is installed once.",
    "other-vendors": "Beside another instrumentation there is one set of spans, and that is said once.",
    "suppressed": "`suppress_instrumentation()` means no span and no metric.",
}
CONTEXT = {
    "other-context": "Generators that end in another context, or in the collector, leave no complaint in the logs.",
    "caller-stays": "The current span between chunks is the caller's.",
    "threads": "20 threads of 5 streams, and 50 tasks, keep their parents apart.",
}
PRIVACY = {
    "no-headers": "No header, key or cookie is recorded.",
    "media": "Pictures and sounds become type, size and hash.",
    "content-off": "While content is off, none is anywhere.",
    "mask-raises": "A redactor that raises loses the content, not the span.",
}
SCENARIOS: dict[str, str] = {
    **STREAMS, **TYPES, **REQUESTS, **VALUES, **LIFE, **FEEDBACK, **NEIGHBOURS, **CONTEXT, **PRIVACY}


def shows(*scenarios: str) -> Callable[[T], T]:
    """Say which of `SCENARIOS` the test shows.

    Raises:
        KeyError: if there is no such scenario.
    """
    for scenario in scenarios:
        SCENARIOS[scenario]

    def same(test: T) -> T:
        return test

    return same
