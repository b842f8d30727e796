"""A response fetched by its id, or cancelled: no model runs, so no tokens are counted. ``fetch_response``.

A response that was created in the background is an answer when it is first fetched complete, and not before.
"""

from __future__ import annotations

from typing import Any

from backspan import semconv
from backspan.config import settings
from backspan.instrument import _openai_responses as responses
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import Json, each, field, peek
from backspan.instrument._openai_common import text_or_none
from backspan.instrument._openai_search import record_searches

OPERATION = Operation(semconv.FETCH_RESPONSE, answers=False)
_USAGE = "gen_ai.usage."
_WAITING = ("queued", "in_progress")
_MOST_KNOWN = 4096

Began = tuple[str | None, str | None, str | None]
"""The model, the name of the prompt and its version, as the request said."""
_begun: dict[str, Began | None] = {}
"""Background responses by id, oldest first: how one began that has not been fetched complete, None once it was."""


def asked(body: Json, content: bool) -> Asked:
    """Read what the path and the query say: which response, from which event on."""
    attributes: Json = {semconv.OPENAI_API_TYPE: "responses"}
    if body.get("response_id"):
        attributes[semconv.RESPONSE_ID] = str(body["response_id"])
    if body.get("stream") in (True, "true"):
        attributes[semconv.REQUEST_STREAM] = True
    if body.get("starting_after") is not None:
        attributes[semconv.REQUEST_STREAM_CURSOR] = str(body["starting_after"])
    return Asked(None, attributes, None, {}, subject="")


def answered(call: Call, answer: Any, content: bool) -> None:
    """Read a `Response`, or a `Bag` of one. That it failed is what was fetched, not how the fetching went."""
    responses.answered(call, answer, content)
    _as_fetched(call)
    _take_status(call, answer)


def _as_fetched(call: Call) -> None:
    call.error_type = call.input_tokens = call.output_tokens = call.modalities = None
    for key in [key for key in call.attributes if key.startswith(_USAGE)]:
        del call.attributes[key]


def _take_status(call: Call, answer: Any) -> None:
    status = text_or_none(peek(answer, "status"))
    if status:
        call.attributes[semconv.RESPONSE_STATUS] = status
    if peek(answer, "background") is True and status in ("completed", "incomplete") and call.response_id:
        _count(call, call.response_id, answer)


def _count(call: Call, response_id: str, answer: Any) -> None:
    """Count the answer of a background response, once in this process, for the request that began it."""
    began = _begun.get(response_id)
    if response_id in _begun and began is None:
        return
    _note(response_id, None)
    call.answers = True
    prompt = peek(answer, "prompt")
    model, call.prompt, call.version = began or (
        call.response_model, text_or_none(field(prompt, "id")), text_or_none(field(prompt, "version")))
    call.asked = call.asked._replace(model=model)
    record_searches(call, answer, each(peek(answer, "output")), settings().content)


# --- where it began -------------------------------------------------------------------------------------------------
def created(call: Call, answer: Any, content: bool) -> None:
    """Read the answer to a request for a response, which may have only begun."""
    responses.answered(call, answer, content)
    status = peek(answer, "status")
    if status in _WAITING and peek(answer, "background") is True:
        call.answers = False
        call.attributes[semconv.RESPONSE_STATUS] = status
        if call.response_id:
            _note(call.response_id, (call.asked.model, call.prompt, call.version))


def _note(response_id: str, began: Began | None) -> None:
    _begun.pop(response_id, None)
    _begun[response_id] = began
    while len(_begun) > _MOST_KNOWN:
        del _begun[next(iter(_begun))]


class FetchFold(responses.ResponsesFold):
    """Folds the events of a response that is fetched as they are told again, or for the first time."""

    __slots__ = ("_last",)

    def __init__(self, call: Call, content: bool) -> None:
        super().__init__(call, content)
        self._last: Any = None

    def rare(self, chunk: Any) -> None:
        """Any event; the last one that carries the response tells its status."""
        super().rare(chunk)
        whole = peek(chunk, "response")
        if whole is not None:
            self._last = whole

    def finish(self, outcome: str) -> str:
        """How the fetching ended is how the stream did; tokens were counted where the response was asked for."""
        outcome = super().finish(outcome)
        _as_fetched(self.call)
        _take_status(self.call, self._last)
        return outcome
