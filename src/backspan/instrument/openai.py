"""openai: every resource that runs a model or searches for one, at the one method that all requests go through.

``SyncAPIClient.request`` and its asynchronous twin are called by every resource, by ``parse()``, ``stream()``,
``with_raw_response``, ``with_streaming_response`` and ``client.post``, by copies of a client and by clients made before
we came; retries happen inside. So one call is one span, and only the path decides whether it is one of ours. The
options are read, never changed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import Any

from backspan import semconv, telemetry
from backspan._guard import measured
from backspan.config import settings
from backspan.instrument import _openai_socket as socket
from backspan.instrument import _vendors as vendors
from backspan.instrument._attempts import listen
from backspan.instrument._call import Call, Service, orphans, reap
from backspan.instrument._content import Json, bag, bagged
from backspan.instrument._facts import error_in, schema_failure, take_headers
from backspan.instrument._openai_apis import APIS, BINARY, TEXT, Api, route, said
from backspan.instrument._patch import Patches
from backspan.instrument._providers import service_of
from backspan.instrument._stream import followed, hold
from backspan.instrument._usage import asking, hiding, wanted

LIBRARY = "openai"


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
        _patches.wrap_below(base.SyncAPIClient, "request", _request, (module.OpenAI, module.AzureOpenAI))
        _patches.wrap_below(
            base.AsyncAPIClient, "request", _request_async, (module.AsyncOpenAI, module.AsyncAzureOpenAI))
        listen(base, _patches)
        socket.instrument()


def uninstrument() -> None:
    """Put the SDK's own methods back."""
    _patches.undo()
    socket.uninstrument()


# --- the call -------------------------------------------------------------------------------------------------------
def _request(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    begun = _begin(client, args, kwargs)
    if begun is None:
        return wrapped(*args, **kwargs)
    call, api, args, kwargs = begun
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
    call, api, args, kwargs = begun
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


@measured
def _begin(client: Any, args: tuple[Any, ...], kwargs: Json) -> tuple[Call, Api, tuple[Any, ...], Json] | None:
    """Start a call if the request is one of ours; return it with the arguments to use."""
    options: Any = args[1] if len(args) > 1 else kwargs.get("options")
    found = _api(options)
    if found is None or telemetry.suppressed() or vendors.taken(LIBRARY, vendors.OPENAI, client):
        return None
    if orphans:
        reap()
    api, path = found
    stream, content = bool(kwargs.get("stream")), settings().content
    body = said(options, path)
    if api.runs is not None and not api.runs(body):
        return None
    if api.operation.inference and body.get("model") is None and getattr(client, "_azure_deployment", None):
        body = {**body, "model": client._azure_deployment}
    call = Call(api.operation, _service(client, options.url), api.asked(body, content), stream)
    try:
        if stream:
            kwargs = _following(call, api, content, kwargs)
            args, kwargs = _asking(call, options, args, kwargs)
        return call, api, args, kwargs
    except BaseException as error:  # a fault of ours: the span must not stay open
        call.end(error)
        raise


def _following(call: Call, api: Api, content: bool, kwargs: Json) -> Json:
    """Have the stream that will be made shown to the API's fold; return the keyword arguments for that."""
    if api.fold is None:
        return kwargs
    call.fold = api.fold(call, content)
    if kwargs.get("stream_cls") is None:
        return kwargs
    return {**kwargs, "stream_cls": followed(kwargs["stream_cls"])}


def _asking(call: Call, options: Any, args: tuple[Any, ...], kwargs: Json) -> tuple[tuple[Any, ...], Json]:
    """Ask for the usage of a stream where a setting says so: the one case in which a request is changed."""
    if not wanted(call, options) or kwargs.get("stream_cls") is None:
        return args, kwargs
    kwargs = {**kwargs, "stream_cls": hiding(kwargs["stream_cls"])}
    if len(args) > 1:
        return (args[0], asking(options), *args[2:]), kwargs
    return args, {**kwargs, "options": asking(options)}


_NOTHING: Json = {}


def _api(options: Any) -> tuple[Api, Json] | None:
    """What the request is, and what its address says."""
    url: Any = getattr(options, "url", None)
    if not isinstance(url, str):
        return None
    method = options.method.lower()
    api = APIS.get(url)
    if api is not None and api.method == method:
        return api, _NOTHING
    found = route(method, url)
    return (APIS[found[0]], found[1]) if found is not None else None


def _service(client: Any, url: str) -> Service:
    base = client._base_url  # the public property computes, and may do more than that
    if "://" in url:
        return service_of(client, type(base)(url))
    known = _services.get(client)
    if known is None or known[0] is not base:
        known = _services[client] = (base, service_of(client, base))
    return known[1]


# --- what came back -------------------------------------------------------------------------------------------------
@measured
def _failed(call: Call, api: Api, error: BaseException) -> None:
    response, call.response = call.response, None
    try:
        api.failed(call, error)
        _learn(call, api, error, response)
    finally:
        call.fail(error)


def _learn(call: Call, api: Api, error: BaseException, response: Any) -> None:
    """Take what is known although the call raised: headers, and the usage of an answer that did not parse."""
    refused = getattr(error, "response", None)
    if refused is not None:
        take_headers(call, refused.headers.raw)
    if schema_failure(error):
        call.attributes[semconv.SCHEMA_FAILED] = True
    if response is None or refused is not None or call.input_tokens is not None or api.body == BINARY:
        return
    if response.status_code < 400 and response.is_closed:
        _read(call, api, response.content)


@measured
def _received(call: Call, api: Api, result: Any, asynchronous: bool) -> None:
    """End the call with what came back, or have it ended by whoever reads or closes that."""
    call.response = None
    try:
        _take(call, api, result, asynchronous)
    except BaseException as error:  # a fault of ours: the span must not stay open
        call.end(error)
        raise


def _take(call: Call, api: Api, result: Any, asynchronous: bool) -> None:
    if not call.stream and isinstance(result, _models):
        _finish(call, api, result)
        return
    response: Any = result if hasattr(result, "iter_raw") and hasattr(result, "is_closed") else None
    for name in ("http_response", "response"):
        response = response or getattr(result, name, None)
    if response is None:
        _finish(call, api, bagged(result))
    elif not call.stream and response.is_closed:
        _finish_raw(call, api, response)
    else:
        unread = call.stream or api.body == BINARY
        hold(call, response, asynchronous, None if unread else lambda call, raw: _read(call, api, raw))


def _finish(call: Call, api: Api, answer: Any) -> None:
    try:
        _answered(call, api, answer)
    finally:
        call.end()


def _finish_raw(call: Call, api: Api, response: Any) -> None:
    try:
        if api.body != BINARY:
            _read(call, api, response.content)
    finally:
        call.end()


def _read(call: Call, api: Api, raw: bytes) -> None:
    try:
        answer = bag(raw)
    except ValueError:
        if api.body != TEXT:  # the application will learn that from the SDK
            return
        answer = raw.decode("utf-8", "replace")
    _answered(call, api, answer)


def _answered(call: Call, api: Api, answer: Any) -> None:
    """Read an answer; an error in its place, with status 200, is an error."""
    api.answered(call, answer, settings().content)
    if call.error_type is None and not call.finish_reasons:
        call.error_type = error_in(answer)
