"""Feedback tokens: a sealed permission to judge one answer, fit for a browser.

A token carries the target with its dimensions, who may judge, and which names. It is encrypted and authenticated
(`backspan.feedback.seal`), so its holder can judge exactly the answer he was shown and read nothing. The first key of
`config.token_keys` seals, all of them open: a key is retired by putting a new one before it, and removed when the last
token sealed with it has expired.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Collection, Mapping
from functools import lru_cache
from struct import Struct
from typing import Final, NamedTuple

from backspan import semconv
from backspan._guard import guarded, say_once
from backspan.config import Settings, settings, token_keys
from backspan.context import Target
from backspan.feedback.fields import InvalidFeedback
from backspan.feedback.seal import Broken, Ring
from backspan.feedback.validate import valid_pattern

PREFIX: Final = "bs1."
"""Begins every token: it tells a token from a response id, and names the layout of the claims."""
TTL_S: Final = 30 * 86400.0
"""Default time to live in seconds: 30 days."""
MAX_LENGTH: Final = 4096
"""Characters of the longest token that is read."""

ORIGIN: Final = re.compile(r"https?://[a-z0-9._-]+(?::[0-9]{1,5})?|https?://\[[0-9a-f:]+\](?::[0-9]{1,5})?")
_FORM: Final = re.compile(r"bs1\.[A-Za-z0-9_-]{40,}")

EXPIRED: Final = "expired"
FORGED: Final = "forged"
AUDIENCE: Final = "audience"
UNAVAILABLE: Final = "unavailable"
_MESSAGES: Final = {
    EXPIRED: "has expired",
    FORGED: "was not made by this service, or was changed",
    AUDIENCE: "is for another audience",
    UNAVAILABLE: "cannot be read here: that takes `pip install 'backspan[server]'` and the keys it was made with",
}
_PIP_LINE: Final = "feedback tokens need a package: pip install 'backspan[server]'"
_NO_KEYS: Final = "no feedback token is made: set BACKSPAN_TOKEN_KEYS, or BACKSPAN_DATA_DIR to a folder we may write"
_BAD_KEYS: Final = "no feedback token is made: a key in BACKSPAN_TOKEN_KEYS or token.key is not 32 bytes of base64"
_DIMS: Final = (*semconv.DIMENSIONS, semconv.ENVIRONMENT, semconv.SERVICE_NAME)


class InvalidToken(InvalidFeedback):
    """A token is of no use. ``reason`` is ``expired``, ``forged``, ``audience`` or ``unavailable`` (no key here)."""

    def __init__(self, reason: str) -> None:
        super().__init__("token", _MESSAGES[reason])
        self.reason = reason


class Claims(NamedTuple):
    """What a token says.

    Attributes:
        target: what may be judged.
        rater: pseudonym of who may judge, or None.
        names: names allowed (``user_*`` allows a prefix), or None for all.
        expires: unix seconds.
        audience: for whom it was made, or None.
        origins: origins whose pages may use it, or None for any.
    """

    target: Target
    rater: str | None
    names: tuple[str, ...] | None
    expires: float
    audience: str | None
    origins: tuple[str, ...] | None = None


def mint(
    target: Target, *, rater: str | None = None, names: Collection[str] | None = None, ttl: float = TTL_S,
    audience: str | None = None, origins: Collection[str] | None = None, now: float | None = None,
) -> str | None:
    """Seal a token for ``target``; None, said once, where there is no key or the package ``cryptography`` is missing.

    Args:
        target: what may be judged; it must name a span, a response or a conversation.
        rater: pseudonym of the only person who may judge.
        names: feedback names allowed, ``user_*`` for a prefix; None for all.
        ttl: seconds until it expires.
        audience: only `read` with the same audience accepts it.
        origins: exact origins (``https://app.example.com``) whose pages may use it; None for any.
        now: unix seconds, for tests.

    Raises:
        InvalidFeedback: for a target without ids, a name that can never be used, or a ``ttl`` of no length.
    """
    if target.trace_id is None and target.response_id is None and target.conversation_id is None:
        raise InvalidFeedback("target", "names no span, response or conversation")
    if not ttl > 0:
        raise InvalidFeedback("ttl", "must be more than 0 seconds")
    allowed = _patterns(names)
    expires = (time.time() if now is None else now) + ttl
    return _seal(Claims(target, rater, allowed, expires, audience, _origins(origins)))


def read(token: str, *, audience: str | None = None, now: float | None = None) -> Claims:
    """Open a token.

    Args:
        token: as `mint` made it.
        audience: must equal the token's; None for tokens without one.
        now: unix seconds, for tests.

    Raises:
        InvalidToken: with the reason.
    """
    claims = _open(token)
    if (time.time() if now is None else now) >= claims.expires:
        raise InvalidToken(EXPIRED)
    if claims.audience != audience:
        raise InvalidToken(AUDIENCE)
    return claims


def is_token(text: str) -> bool:
    """Tell whether ``text`` looks like a token (and not like a response id)."""
    return text.startswith(PREFIX)


def well_formed(text: str) -> bool:
    """Tell whether ``text`` could be a token by its length and letters; it may be forged all the same."""
    return len(text) <= MAX_LENGTH and _FORM.fullmatch(text) is not None


def _patterns(names: Collection[str] | None) -> tuple[str, ...] | None:
    if names is None:
        return None
    if isinstance(names, str) or not names or not all(valid_pattern(name) for name in names):
        raise InvalidFeedback("names", f"must be names that begin with one of {', '.join(semconv.NAME_PREFIXES)}")
    return tuple(sorted(names))


def _origins(origins: Collection[str] | None) -> tuple[str, ...] | None:
    if origins is None:
        return None
    if isinstance(origins, str) or not origins or not all(ORIGIN.fullmatch(origin) for origin in origins):
        raise InvalidFeedback("origins", "must be origins such as https://app.example.com")
    return tuple(sorted(origins))


# --- keys -----------------------------------------------------------------------------------------------------------
_last: tuple[Settings, Ring] | None = None


def _ring() -> Ring | None:
    """The key ring, or None, said once, if this process cannot have one. Looked up again only after a reload."""
    global _last
    now = settings()
    if _last is None or _last[0] is not now:
        ring = _made_ring()
        _last = None if ring is None else (now, ring)
        return ring
    return _last[1]


def _made_ring() -> Ring | None:
    try:
        keys = token_keys()
        if keys:
            return Ring(keys, PREFIX)
        say_once("token:keys", _NO_KEYS)
    except ImportError:
        say_once("token:package", _PIP_LINE)
    except ValueError:
        say_once("token:malformed", _BAD_KEYS)
    return None


def check_keys(keys: Collection[str]) -> None:
    """Raises ValueError, with what to do, unless each of ``keys`` can be used; it quotes none of them."""
    try:
        if keys:
            Ring(tuple(keys), PREFIX)
    except ValueError:
        raise ValueError("a key is not 32 bytes of URL-safe base64; `backspan store key` makes one") from None


@guarded
def _seal(claims: Claims) -> str | None:
    ring = _ring()
    return None if ring is None else ring.seal(_pack(claims))


def _open(token: str) -> Claims:
    if len(token) > MAX_LENGTH or not token.startswith(PREFIX):
        raise InvalidToken(FORGED)
    ring = _ring()
    if ring is None:
        raise InvalidToken(UNAVAILABLE)
    try:
        return _unpack(ring.open(token))
    except Broken:
        raise InvalidToken(FORGED) from None


# --- layout: ids of usual form as bytes, what a cohort has in common, what is this answer's own -----------------------
_HEAD: Final = Struct(">BBddH16s8s16s")
"""Which of the following are there, trace flags, expiry, time of the answer, length of the common part, ids."""
_TRACE, _SPAN, _RATER, _AT, _OWN_TURN = 1, 2, 4, 8, 16
_USUAL: Final = re.compile(r"(?:[0-9a-f]{2})+")
_decode: Final = json.JSONDecoder().raw_decode
_encode: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_Common = tuple[Mapping[str, str], "tuple[str, ...] | None", "str | None", "tuple[str, ...] | None"]


def _pack(claims: Claims) -> bytes:
    target = claims.target
    ids = [_packed(target.trace_id, 16), _packed(target.span_id, 8), _packed(claims.rater, 16)]
    own_turn = target.turn_id is not None and target.turn_id == f"{target.trace_id}-{target.span_id}"
    there = sum(bit for bit, raw in zip((_TRACE, _SPAN, _RATER), ids, strict=True) if raw)
    there |= _AT * (target.at is not None) | _OWN_TURN * own_turn
    odd = [None if raw else given for raw, given in
           zip(ids, (target.trace_id, target.span_id, claims.rater), strict=True)]
    own = [target.response_id, target.conversation_id, None if own_turn else target.turn_id, *odd]
    dims = [target.dims.get(key, "") for key in _DIMS] if target.dims else []
    common = _encode([dims, claims.names, claims.audience, claims.origins]).encode()
    head = _HEAD.pack(there, target.trace_flags, claims.expires, target.at or 0.0, len(common), *ids)
    return head + common + _encode(own).encode()


def _packed(id: str | None, size: int) -> bytes:
    """An id of so many bytes in hex digits, as bytes; nothing for any other."""
    return bytes.fromhex(id) if id is not None and len(id) == 2 * size and _USUAL.fullmatch(id) else b""


def _unpack(plain: bytes) -> Claims:
    there, flags, expires, at, length, trace, span, rater = _HEAD.unpack_from(plain)
    end = _HEAD.size + length
    dims, names, audience, origins = _common(plain[_HEAD.size:end])
    response_id, conversation_id, turn_id, odd_trace, odd_span, odd_rater = _decode(plain[end:].decode())[0]
    trace_id = trace.hex() if there & _TRACE else odd_trace
    span_id = span.hex() if there & _SPAN else odd_span
    if there & _OWN_TURN:
        turn_id = f"{trace_id}-{span_id}"
    target = Target(trace_id, span_id, flags, response_id, conversation_id, turn_id, dims, at if there & _AT else None)
    return Claims(target, rater.hex() if there & _RATER else odd_rater, names, expires, audience, origins)


@lru_cache(maxsize=4096)
def _common(part: bytes) -> _Common:
    """Dimensions, names, audience and origins: few by design, so each set is made once, and never changed."""
    dims, names, audience, origins = _decode(part.decode())[0]
    return (dict(zip(_DIMS, dims, strict=False)), None if names is None else tuple(names), audience,
            None if origins is None else tuple(origins))
