"""``Idempotency-Key``: a request that is sent again with the same key is not carried out again.

The key belongs to who sent it, and to the method and path. With another body it is refused (422); while the first is
under way as well (409). What was answered is kept for a day (`backspan.store.idempotency`).
"""

from __future__ import annotations

import hashlib
import re
from asyncio import wrap_future
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

from starlette.requests import Request

from backspan.server.problems import Problem
from backspan.store import Store, sealing
from backspan.store.batch import Batch
from backspan.store.idempotency import Claim, Done
from backspan.store.schema import dumps

T = TypeVar("T")
HEADER = "idempotency-key"
AGAIN = {"Idempotent-Replayed": "true"}
"""Header of an answer that is a first answer, given again."""
_FORM = re.compile(r"[!-~]{1,255}")
_SENDERS = ("backspan-token", "authorization")


class UnderWay:
    """The claims of requests that are being carried out in this process."""

    def __init__(self) -> None:
        self._open: dict[str, str] = {}

    @contextmanager
    def claim(
        self, request: Request, payload: Mapping[str, Any], delivery: str | None = None
    ) -> Generator[Claim | None]:
        """The claim of a request, for as long as it takes; None if it has no key.

        ``delivery`` is what the sender of a webhook calls it by, in the place of a key: whatever comes again under that
        name is the same, as some senders put the time of the attempt into the body.

        Raises:
            Problem: 400 for a malformed key; 409 or 422 while another request with it is under way.
        """
        claim = _claim(request, payload) if delivery is None else _delivered(request, delivery)
        if claim is None:
            yield None
            return
        before = self._open.setdefault(claim.key, claim.digest)
        if before is not claim.digest:
            raise _under_way() if before == claim.digest else asked_otherwise()
        try:
            yield claim
        finally:
            del self._open[claim.key]


def _claim(request: Request, payload: Mapping[str, Any]) -> Claim | None:
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if _FORM.fullmatch(key) is None:
        raise Problem(400, "Idempotency-Key: must be 1 to 255 visible ASCII characters", field="Idempotency-Key",
                      reason="idempotency")
    who = [request.headers.get(name, "") for name in _SENDERS]
    return Claim(_digest([*who, str(payload.get("token", "")), request.method, request.url.path, key]),
                 sealing.fingerprint(_said(payload)))


def _delivered(request: Request, delivery: str) -> Claim:
    return Claim(_digest(["delivery", request.url.path, delivery]), _digest([delivery]))


async def work(store: Store, job: Callable[[Batch], T], claim: Claim | None) -> Done[T]:
    """`Store.work`, once if there is a claim; what ``job`` returns must be JSON then."""
    if claim is None:
        return Done(await wrap_future(store.work(job)), False)
    return await store.work_once(job, claim)


def answered(done: Done[T]) -> T:
    """What was answered. Raises `Problem` 422 if the key came with another request before."""
    if done.result is None:
        raise asked_otherwise()
    return done.result


def asked_otherwise() -> Problem:
    """The key came with another body before."""
    return Problem(422, "Idempotency-Key: this key came with another request before", field="Idempotency-Key",
                   reason="idempotency")


def _under_way() -> Problem:
    return Problem(409, "the first request with this Idempotency-Key is not answered yet", field="Idempotency-Key",
                   headers={"Retry-After": "1"}, reason="idempotency")


def _digest(said: Any) -> str:
    return hashlib.sha256(_said(said)).hexdigest()


def _said(said: Any) -> bytes:
    return dumps(said).encode("utf-8", "surrogatepass")
