"""qdrant-client: similarity queries of both clients, local mode and server alike, as retrieval spans.

The public methods of `QdrantClient` and `AsyncQdrantClient` are wrapped, where the query is still what the application
said; those that call each other give one span.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from contextvars import ContextVar, Token
from types import ModuleType
from typing import Any, cast

from opentelemetry.trace import get_current_span

from backspan import semconv, telemetry
from backspan._guard import guarded
from backspan._retrieval import Retrieval, retrieval
from backspan.config import settings
from backspan.context import current
from backspan.instrument import _vendors as vendors
from backspan.instrument._content import each, field
from backspan.instrument._patch import Patches

LIBRARY = "qdrant_client"
METHODS = (
    "query_points", "query_points_groups", "query_batch_points",
    # gone in newer versions:
    "search", "search_batch", "search_groups", "recommend", "recommend_batch", "recommend_groups", "discover",
    "discover_batch", "query", "query_batch",
)
_VERSIONED = re.compile(r"(?P<name>.+?)[@:_.-](?P<version>v\d[\w.]*|\d{4}[-_.]?\d{2}[-_.]?\d{2})")
_TEXT_KEYS = ("document", "page_content", "text", "content")
_MOST_SAID = 256

_patches = Patches(LIBRARY)
_inside: ContextVar[bool] = ContextVar("backspan_qdrant", default=False)


def instrument(module: ModuleType) -> None:
    """Patch qdrant-client, unless somebody else's wrapper is there already."""
    for owner, wrapper in ((module.QdrantClient, _query), (module.AsyncQdrantClient, _query_async)):
        for name in METHODS:
            _patches.wrap(_definer(owner, name), name, wrapper)


def uninstrument() -> None:
    """Put the client's own methods back."""
    _patches.undo()


def _definer(owner: Any, name: str) -> Any:
    """The class that defines ``name``: ``query`` comes from a mix-in."""
    return next((base for base in owner.__mro__ if name in vars(base)), owner)


# --- the query ------------------------------------------------------------------------------------------------------
def _query(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    span = _start(client, args, kwargs)
    if span is None:
        return wrapped(*args, **kwargs)
    token = _inside.set(True)
    try:
        with span as found:
            _say_server(client)
            result = wrapped(*args, **kwargs)
            _report(found, result)
    finally:
        _leave(token)
    return result


async def _query_async(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    span = _start(client, args, kwargs)
    if span is None:
        return await wrapped(*args, **kwargs)
    token = _inside.set(True)
    try:
        with span as found:
            _say_server(client)
            result = await wrapped(*args, **kwargs)
            _report(found, result)
    finally:
        _leave(token)
    return result


def _leave(token: Token[bool]) -> None:
    try:
        _inside.reset(token)
    except ValueError:  # a coroutine closed in another context, where nothing was set
        pass


@guarded
def _start(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> retrieval | None:
    """The retrieval to open, or None inside another query and where another vendor records them."""
    if not settings().enabled or _inside.get() or telemetry.suppressed() or vendors.taken(LIBRARY, vendors.QDRANT):
        return None
    collection = args[0] if args else kwargs.get("collection_name")
    queries = [kwargs] if "requests" not in kwargs else each(kwargs["requests"])
    limit = next((top for query in queries if isinstance(top := field(query, "limit"), int)), None)
    said = [text for query in queries if (text := _text(query, args))] if settings().content else []
    _, version = split_version(str(collection))
    return retrieval(
        "\n".join(said) or None, index=str(collection), version=current().index_version or version,
        top_k=limit, provider="qdrant",
    )


@guarded
def _say_server(client: Any) -> None:
    remote = getattr(client, "_client", None)
    host, port = getattr(remote, "_host", None), getattr(remote, "_port", None)
    if isinstance(host, str):
        get_current_span().set_attribute(semconv.SERVER_ADDRESS, host)
    if isinstance(port, int):
        get_current_span().set_attribute(semconv.SERVER_PORT, port)


def split_version(collection: str) -> tuple[str, str | None]:
    """Name and version of an index from a collection's name that ends in one, such as ``docs-v3``."""
    match = _VERSIONED.fullmatch(collection)
    return (match["name"], match["version"]) if match else (collection, None)


def _text(query: Any, args: tuple[Any, ...]) -> str | None:
    """What was searched for, if it was said in words."""
    for value in (field(query, "query"), field(query, "query_text"), *args[1:2]):
        said = value if isinstance(value, str) else field(value, "text")
        if isinstance(said, str):
            return said
    return None


# --- what was found -------------------------------------------------------------------------------------------------
@guarded
def _report(found: Retrieval, result: Any) -> None:
    for point in _points(result):
        payload = field(point, "payload") or field(point, "metadata")
        said = _payload(point, payload) if settings().content else {}
        found.add(str(field(point, "id")), score=_score(point), **said)


def _points(result: Any) -> Iterator[Any]:
    """The scored points in any result: a response, groups, or lists of them."""
    for name in ("points", "groups", "hits"):
        inner: Any = field(result, name)
        if isinstance(inner, list):
            result = cast("list[Any]", inner)
            break
    if hasattr(result, "score"):
        yield result
    for item in each(result):
        yield from _points(item)


def _score(point: Any) -> float | None:
    score = field(point, "score")
    return float(score) if isinstance(score, int | float) else None


def _payload(point: Any, payload: Any) -> dict[str, Any]:
    """What the payload says of a document by the usual keys; a payload may hold anything, so only with content on."""
    said: dict[str, Any] = {}
    for key in ("source", "version"):
        value = field(payload, key)
        if isinstance(value, str | int):
            said[key] = str(value)[:_MOST_SAID]
    texts: Iterable[Any] = (field(payload, key) for key in _TEXT_KEYS)
    text = next((text for text in (*texts, field(point, "document")) if isinstance(text, str)), None)
    return said if text is None else {**said, "content": text}
