"""What an application does with what a call returns, in the same words for a synchronous and an asynchronous client."""

from __future__ import annotations

import inspect
import pickle
from typing import Any


def _value(got: Any) -> Any:
    return got


async def _avalue(got: Any) -> Any:
    return await got


def _items(got: Any) -> Any:
    return list(got)


async def _aitems(got: Any) -> Any:
    got = await got if inspect.isawaitable(got) else got
    return [item async for item in got]


def _raw(got: Any) -> Any:
    return got.headers["x-request-id"], got.status_code, got.http_response.content, got.parse(), got.parse()


async def _araw(got: Any) -> Any:
    return _raw(await got)


def _raw_items(got: Any) -> Any:
    return got.headers["x-request-id"], list(got.parse())


async def _araw_items(got: Any) -> Any:
    got = await got
    return got.headers["x-request-id"], [item async for item in got.parse()]


def _lines(got: Any) -> Any:
    with got as response:
        return list(response.iter_lines())


async def _alines(got: Any) -> Any:
    async with got as response:
        return [line async for line in response.iter_lines()]


def _bytes(got: Any) -> Any:
    with got as response:
        return b"".join(response.iter_bytes())


async def _abytes(got: Any) -> Any:
    async with got as response:
        return b"".join([part async for part in response.iter_bytes()])


def _parsed(got: Any) -> Any:
    with got as response:
        answer = response.parse()
        return list(answer) if hasattr(answer, "__next__") else answer


async def _aparsed(got: Any) -> Any:
    async with got as response:
        answer = await response.parse()
        return [item async for item in answer] if hasattr(answer, "__anext__") else answer


def _events(got: Any) -> Any:
    with got as stream:
        return [event.type for event in stream]


async def _aevents(got: Any) -> Any:
    async with got as stream:
        return [event.type async for event in stream]


def _first(got: Any) -> Any:
    with got as stream:
        return next(iter(stream)), stream.response.is_closed


async def _afirst(got: Any) -> Any:
    async with await got as stream:
        return await stream.__anext__(), stream.response.is_closed


def _pickled(got: Any) -> Any:
    return pickle.loads(pickle.dumps(got.http_response)).json()["choices"]


async def _apickled(got: Any) -> Any:
    return _pickled(await got)


VALUE, ITEMS, RAW, RAW_ITEMS = (_value, _avalue), (_items, _aitems), (_raw, _araw), (_raw_items, _araw_items)
LINES, BYTES, PARSED, EVENTS = (_lines, _alines), (_bytes, _abytes), (_parsed, _aparsed), (_events, _aevents)
FIRST, PICKLED = (_first, _afirst), (_pickled, _apickled)
"""Each a pair: for what a synchronous client returns, and an asynchronous one."""
