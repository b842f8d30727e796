"""Which requests run a model or search for one: one table from the path to the file that knows the resource.

The path is that of the SDK's resource; what stands in braces is read from the address and given to the extractor beside
the fields of the body. What is not in the table makes no span.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import unquote, urlsplit

from backspan.instrument import _openai_agents as agents
from backspan.instrument import _openai_audio as audio
from backspan.instrument import _openai_chat as chat
from backspan.instrument import _openai_chat_stream as chat_stream
from backspan.instrument import _openai_completions as completions
from backspan.instrument import _openai_embeddings as embeddings
from backspan.instrument import _openai_fetch as fetch
from backspan.instrument import _openai_images as images
from backspan.instrument import _openai_moderations as moderations
from backspan.instrument import _openai_responses as responses
from backspan.instrument import _openai_search as search
from backspan.instrument import _openai_threads as threads
from backspan.instrument._call import Asked, Call, Operation
from backspan.instrument._content import Json
from backspan.instrument._openai_files import FILES
from backspan.instrument._stream import Fold

JSON, TEXT, BINARY = "json", "text", "binary"


def _nothing_known(call: Call, error: BaseException) -> None:
    """A call that failed leaves nothing to read."""


@dataclass(frozen=True)
class Api:
    """One resource: how to read its requests and its answers.

    ``runs`` tells whether a request runs anything, where not every one does.
    ``body`` is what an answer may be beside JSON: a plain text, or something that is not to be read at all.
    """

    operation: Operation
    asked: Callable[[Json, bool], Asked]
    answered: Callable[[Call, Any, bool], None]
    fold: Callable[[Call, bool], Fold[Any]] | None = None
    failed: Callable[[Call, BaseException], None] = _nothing_known
    method: str = "post"
    body: str = JSON
    runs: Callable[[Json], bool] | None = None


_IMAGES = Api(images.OPERATION, images.asked, images.answered, images.ImageFold)
_VIDEOS = Api(images.OPERATION, images.video_asked, images.video_answered)
_RUNS = Api(threads.OPERATION, threads.asked, threads.answered, threads.RunFold)


APIS: Mapping[str, Api] = {
    "/chat/completions": Api(chat.OPERATION, chat.asked, chat.answered, chat_stream.ChatFold, chat.failed),
    "/responses": Api(
        responses.OPERATION, responses.asked, fetch.created, responses.ResponsesFold, responses.failed),
    "/embeddings": Api(embeddings.OPERATION, embeddings.asked, embeddings.answered),
    "/responses/{response_id}": Api(
        fetch.OPERATION, fetch.asked, fetch.answered, fetch.FetchFold, method="get"),
    "/responses/{response_id}/cancel": Api(fetch.OPERATION, fetch.asked, fetch.answered),
    "/completions": Api(completions.OPERATION, completions.asked, completions.answered,
                        completions.CompletionFold),
    "/images/generations": _IMAGES,
    "/images/edits": _IMAGES,
    "/images/variations": _IMAGES,
    "/videos": _VIDEOS,
    "/videos/edits": _VIDEOS,
    "/videos/extensions": _VIDEOS,
    "/videos/{video_id}/remix": _VIDEOS,
    "/audio/speech": Api(audio.SPEECH, audio.speech_asked, audio.speech_answered, body=BINARY),
    "/audio/transcriptions": Api(audio.TRANSCRIPTION, audio.transcript_asked, audio.transcript_answered,
                                 audio.TranscriptFold, body=TEXT),
    "/audio/translations": Api(
        audio.TRANSLATION, audio.transcript_asked, audio.transcript_answered, body=TEXT),
    "/moderations": Api(moderations.MODERATION, moderations.asked, moderations.answered),
    "/decisions": Api(moderations.DECISION, moderations.decision_asked, moderations.decided),
    "/vector_stores/{vector_store_id}/search": Api(search.OPERATION, search.asked, search.answered),
    "/threads/runs": _RUNS,
    "/threads/{thread_id}/runs": _RUNS,
    "/threads/{thread_id}/runs/{run_id}/submit_tool_outputs": _RUNS,
    "/agents/sessions": Api(agents.OPERATION, agents.asked, agents.answered, agents.AgentFold, runs=agents.runs),
    "/agents/sessions/{session_id}/events": Api(
        agents.OPERATION, agents.asked, agents.answered, agents.AgentFold, method="get", runs=agents.runs),
}
"""Path, as the SDK's resources say it -> what it is."""


# --- from an address to a path --------------------------------------------------------------------------------------
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(r"(?:^|/)" + re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", path[1:]) + "$")


_PATTERNS = {method: [(path, _pattern(path)) for path, api in APIS.items() if api.method == method]
             for method in ("post", "get")}
_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")
_FIRST = frozenset(path[1:].partition("/")[0] for path in APIS)


def route(method: str, url: str) -> tuple[str, Json] | None:
    """The path of `APIS` that ``url`` ends in, and what the address says besides; None if it is none of them.

    ``url`` is a path of a resource, or what the application gave `client.post`: a whole address, or one with a
    deployment of Azure's in it, whose name then stands for the model.
    """
    address = urlsplit(url).path.rstrip("/")
    if not any(part in _FIRST for part in address.split("/")):
        return None
    for path, pattern in _PATTERNS.get(method, ()):
        found = pattern.search(address)
        if found:
            said: Json = {name: unquote(value) for name, value in found.groupdict().items()}
            deployment = _DEPLOYMENT.search(address)
            return path, {**said, "model": unquote(deployment[1])} if deployment else said
    return None


def said(options: Any, path: Json) -> Json:
    """The fields of a request, whoever set them: the address, the query of a request without a body, or the body.

    Files that are uploaded with it are in the field `FILES`.
    """
    body: Any = options.json_data
    extra: Any = getattr(options, "extra_json", None)
    told: Json = cast(Json, body) if isinstance(body, dict) else {}
    if isinstance(extra, dict):
        told = {**told, **cast(Json, extra)}
    files: Any = getattr(options, "files", None)
    if files:
        told = {**told, FILES: files}
    if path:
        query: Any = options.params if options.method.lower() == "get" else None
        told = {**path, **(cast(Json, query) if isinstance(query, dict) else {}), **told}
    return told
