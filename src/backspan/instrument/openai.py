"""openai: chat completions, responses and embeddings, at the one method that every request goes through.

``SyncAPIClient.request`` and its asynchronous twin are called by every resource, by ``parse()``, ``stream()``,
``with_raw_response``, ``with_streaming_response`` and ``client.post``, by copies of a client and by clients made before
we came; retries happen inside. So one call is one span, and only the path decides whether it is one of ours. The
options are read, never changed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any, cast
from urllib.parse import urlsplit

from backspan import telemetry
from backspan._guard import guarded
from backspan.config import settings
from backspan.instrument import _openai_chat as chat
from backspan.instrument import _openai_chat_stream as chat_stream
from backspan.instrument import _openai_embeddings as embeddings
from backspan.instrument import _openai_responses as responses
from backspan.instrument import _vendors as vendors
from backspan.instrument._call import Asked, Call, Operation, Service, orphans, reap
from backspan.instrument._content import Json, bag, bagged
from backspan.instrument._patch import Patches
from backspan.instrument._providers import service_of
from backspan.instrument._stream import Fold, followed, hold

LIBRARY = "openai"


@dataclass(frozen=True)
class Api:
    """One resource: how to read its requests and its answers."""

    operation: Operation
    asked: Callable[[Json, bool], Asked]
    answered: Callable[[Call, Any, bool], None]
    failed: Callable[[Call, BaseException], None]
    fold: Callable[[Call, bool], Fold[Any]] | None = None


APIS: Mapping[str, Api] = {
    "/chat/completions": Api(chat.OPERATION, chat.asked, chat.answered, chat.failed, chat_stream.ChatFold),
    "/responses": Api(
        responses.OPERATION, responses.asked, responses.answered, responses.failed, responses.ResponsesFold),
    "/embeddings": Api(embeddings.OPERATION, embeddings.asked, embeddings.answered, embeddings.failed),
}
"""Path of a POST request, as the SDK's resources say it -> what it is."""

_services: weakref.WeakKeyDictionary[Any, tuple[Any, Service]] = weakref.WeakKeyDictionary()
_patches = Patches(LIBRARY)
_models: tuple[type, ...] = ()


# --- installing -----------------------------------------------------------------------------------------------------
def instrument(module: ModuleType) -> None:
    """Patch openai, unless somebody else's wrapper is there already."""
    global _models
    _models = (module.BaseModel,)
    base: Any = import_module(f"{module.__name__}._base_client")
    if _patches.wrap(base.SyncAPIClient, "request", _request):
        _patches.wrap(base.AsyncAPIClient, "request", _request_async)


def uninstrument() -> None:
    """Put the SDK's own methods back."""
    _patches.undo()


# --- the call -------------------------------------------------------------------------------------------------------
def _request(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    begun = _begin(client, args, kwargs)
    if begun is None:
        return wrapped(*args, **kwargs)
    call, api, kwargs = begun
    call.enter()
    try:
        result = wrapped(*args, **kwargs)
    except BaseException as error:
        call.leave()
        _failed(call, api, error)
        raise
    call.leave()
    _received(call, api, result, False)
    return result


async def _request_async(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    begun = _begin(client, args, kwargs)
    if begun is None:
        return await wrapped(*args, **kwargs)
    call, api, kwargs = begun
    call.enter()
    try:
        result = await wrapped(*args, **kwargs)
    except BaseException as error:
        call.leave()
        _failed(call, api, error)
        raise
    call.leave()
    _received(call, api, result, True)
    return result


@guarded
def _begin(client: Any, args: tuple[Any, ...], kwargs: Json) -> tuple[Call, Api, Json] | None:
    """Start a call if the request is one of ours; return it with the keyword arguments to use."""
    options: Any = args[1] if len(args) > 1 else kwargs.get("options")
    api = _api(options)
    if api is None or telemetry.suppressed() or vendors.taken(LIBRARY, vendors.OPENAI):
        return None
    if orphans:
        reap()
    stream, content = bool(kwargs.get("stream")), settings().content
    call = Call(api.operation, _service(client, options.url), api.asked(_body(options), content), stream)
    if stream and api.fold is not None:
        call.fold = api.fold(call, content)
        if kwargs.get("stream_cls") is not None:
            kwargs = {**kwargs, "stream_cls": followed(kwargs["stream_cls"])}
    return call, api, kwargs


def _api(options: Any) -> Api | None:
    url: Any = getattr(options, "url", None)
    if not isinstance(url, str) or options.method.lower() != "post":
        return None
    found = APIS.get(url)
    if found is None and not url.startswith("/"):  # client.post() with a whole or a bare address
        path = "/" + urlsplit(url).path.strip("/")
        found = next((api for ending, api in APIS.items() if path.endswith(ending)), None)
    return found


def _body(options: Any) -> Json:
    body: Any = options.json_data
    extra: Any = getattr(options, "extra_json", None)
    said = cast(Json, body) if isinstance(body, dict) else {}
    return {**said, **extra} if isinstance(extra, dict) else said


def _service(client: Any, url: str) -> Service:
    base = client._base_url  # the public property computes, and may do more than that
    if "://" in url:
        return service_of(client, type(base)(url))
    known = _services.get(client)
    if known is None or known[0] is not base:
        known = _services[client] = (base, service_of(client, base))
    return known[1]


# --- what came back -------------------------------------------------------------------------------------------------
@guarded
def _failed(call: Call, api: Api, error: BaseException) -> None:
    api.failed(call, error)
    call.fail(error)


@guarded
def _received(call: Call, api: Api, result: Any, asynchronous: bool) -> None:
    """End the call with what came back, or have it ended by whoever reads or closes that."""
    if not call.stream and isinstance(result, _models):
        _finish(call, api, result)
        return
    response: Any = result if hasattr(result, "iter_raw") else None
    for name in ("http_response", "response"):
        response = response or getattr(result, name, None)
    if response is None:
        _finish(call, api, bagged(result))
    elif not call.stream and response.is_closed:
        _finish_raw(call, api, response.content)
    else:
        hold(call, response, asynchronous, None if call.stream else lambda call, raw: _read(call, api, raw))


def _finish(call: Call, api: Api, answer: Any) -> None:
    try:
        api.answered(call, answer, settings().content)
    finally:
        call.end()


def _finish_raw(call: Call, api: Api, raw: bytes) -> None:
    try:
        _read(call, api, raw)
    finally:
        call.end()


def _read(call: Call, api: Api, raw: bytes) -> None:
    try:
        answer = bag(raw)
    except ValueError:  # not JSON; the application will learn that from the SDK
        return
    api.answered(call, answer, settings().content)
