"""What happens between a call and its result: the HTTP responses, and the pauses between attempts.

The SDK's own loop of attempts is left alone. Two of its methods are listened to, which it has had under these names
since 1.0: one is handed the response that counts, the other decides how long to wait before one more attempt. Neither
is on the path of a call that somebody else's instrumentation records.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from backspan._guard import guarded, measured
from backspan.instrument._call import running
from backspan.instrument._content import Json
from backspan.instrument._facts import take_headers
from backspan.instrument._patch import Patches, Proxy


@guarded
def listen(base: Any, patches: Patches) -> None:
    """Listen to the clients of ``base``, the SDK's module of base clients."""
    for owner, name, wrapper in (
        (base.SyncAPIClient, "_process_response", _process), (base.AsyncAPIClient, "_process_response", _process),
        (base.BaseClient, "_calculate_retry_timeout", _retry),
    ):
        if not isinstance(owner.__dict__.get(name), Proxy):  # somebody else listens: then we do without
            patches.wrap(owner, name, wrapper)


def _process(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    _heard(kwargs.get("response"))
    return wrapped(*args, **kwargs)


def _retry(wrapped: Callable[..., Any], client: Any, args: tuple[Any, ...], kwargs: Json) -> Any:
    seconds = wrapped(*args, **kwargs)
    _retried(seconds)
    return seconds


@measured
def _heard(response: Any) -> None:
    call = running()
    if call is not None and response is not None:
        take_headers(call, response.headers.raw)
        if not call.stream:
            call.response = response


@guarded
def _retried(seconds: float) -> None:
    call = running()
    if call is not None:
        call.retried(seconds)
