"""Feedback tokens: a sealed permission to judge one answer, fit for a browser.

A token carries the target with its dimensions, who may judge, and which names. It is encrypted and authenticated
(Fernet: AES-128-CBC with HMAC-SHA-256), so its holder can judge exactly the answer he was shown and read nothing. The
first key of `config.token_keys` seals, all of them open: a key is retired by putting a new one before it, and removed
when the last token sealed with it has expired.
"""

from __future__ import annotations

import json
import re
import time
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from backspan import semconv
from backspan._guard import guarded, say_once
from backspan.config import Settings, settings, token_keys
from backspan.context import Target
from backspan.feedback.fields import InvalidFeedback
from backspan.feedback.validate import valid_pattern

if TYPE_CHECKING:
    from cryptography.fernet import MultiFernet

PREFIX: Final = "bs1."
"""Begins every token: it tells a token from a response id, and names the layout of the claims."""
TTL_S: Final = 30 * 86400.0
"""Default time to live in seconds: 30 days."""
MAX_LENGTH: Final = 4096
"""Characters of the longest token that is read."""

_FORM: Final = re.compile(r"bs1\.[A-Za-z0-9_=-]{40,}")

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
# What claims have in common need not be in each of them. Part of the layout: never change it under the same prefix.
_DICTIONARY: Final = (
    b'"user_*""implicit_*""review_*"["user_thumbs","user_stars","user_correction"]"claude-sonnet-"'
    b'"gemini-2.5-flash"gpt-4o-mini"gpt-5-mini","chatcmpl-"resp_0"msg_01"production""canary""control"'
    b'"","","",""],null,null,1,[",17'
)


class InvalidToken(InvalidFeedback):
    """A token is of no use. ``reason`` is ``expired``, ``forged``, ``audience`` or ``unavailable`` (no key here)."""

    def __init__(self, reason: str) -> None:
        super().__init__("token", _MESSAGES[reason])
        self.reason = reason


@dataclass(frozen=True)
class Claims:
    """What a token says.

    Attributes:
        target: what may be judged.
        rater: pseudonym of who may judge, or None.
        names: names allowed (``user_*`` allows a prefix), or None for all.
        expires: unix seconds.
        audience: for whom it was made, or None.
    """

    target: Target
    rater: str | None
    names: tuple[str, ...] | None
    expires: float
    audience: str | None


def mint(
    target: Target, *, rater: str | None = None, names: Collection[str] | None = None, ttl: float = TTL_S,
    audience: str | None = None, now: float | None = None,
) -> str | None:
    """Seal a token for ``target``; None, said once, where there is no key or the package ``cryptography`` is missing.

    Args:
        target: what may be judged; it must name a span, a response or a conversation.
        rater: pseudonym of the only person who may judge.
        names: feedback names allowed, ``user_*`` for a prefix; None for all.
        ttl: seconds until it expires.
        audience: only `read` with the same audience accepts it.
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
    return _seal(Claims(target, rater, allowed, expires, audience))


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


# --- keys -----------------------------------------------------------------------------------------------------------
_last: tuple[Settings, MultiFernet] | None = None


def _ring() -> MultiFernet | None:
    """The key ring, or None, said once, if this process cannot have one. Looked up again only after a reload."""
    global _last
    now = settings()
    if _last is None or _last[0] is not now:
        ring = _made_ring()
        _last = None if ring is None else (now, ring)
        return ring
    return _last[1]


def _made_ring() -> MultiFernet | None:
    try:
        from cryptography.fernet import Fernet, MultiFernet

        keys = token_keys()
        if keys:
            return MultiFernet([Fernet(key) for key in keys])
        say_once("token:keys", _NO_KEYS)
    except ImportError:
        say_once("token:package", _PIP_LINE)
    except ValueError:
        say_once("token:malformed", _BAD_KEYS)
    return None


# --- sealing --------------------------------------------------------------------------------------------------------
@guarded
def _seal(claims: Claims) -> str | None:
    ring = _ring()
    if ring is None:
        return None
    packer = zlib.compressobj(6, zlib.DEFLATED, -15, zdict=_DICTIONARY)
    plain = json.dumps(_pack(claims), ensure_ascii=False, separators=(",", ":")).encode()
    return PREFIX + ring.encrypt(packer.compress(plain) + packer.flush()).decode()


def _open(token: str) -> Claims:
    if not well_formed(token):
        raise InvalidToken(FORGED)
    ring = _ring()
    if ring is None:
        raise InvalidToken(UNAVAILABLE)
    from cryptography.fernet import InvalidToken as NotOurs

    try:
        sealed = ring.decrypt(token[len(PREFIX):].encode())
    except NotOurs:
        raise InvalidToken(FORGED) from None
    opener = zlib.decompressobj(-15, zdict=_DICTIONARY)
    return _unpack(json.loads(opener.decompress(sealed) + opener.flush()))


def _pack(claims: Claims) -> list[Any]:
    target = claims.target
    own_turn = target.turn_id is not None and target.turn_id == f"{target.trace_id}-{target.span_id}"
    return [
        target.trace_id, target.span_id, target.trace_flags, target.response_id, target.conversation_id,
        1 if own_turn else target.turn_id, [target.dims.get(key, "") for key in _DIMS] if target.dims else [],
        None if target.at is None else round(target.at, 1), claims.rater, claims.names, int(claims.expires),
        claims.audience,
    ]


def _unpack(packed: list[Any]) -> Claims:
    trace_id, span_id, flags, response_id, conversation_id, turn_id, dims, at, rater, names, expires, audience = packed
    target = Target(
        trace_id, span_id, flags, response_id, conversation_id, f"{trace_id}-{span_id}" if turn_id == 1 else turn_id,
        dict(zip(_DIMS, dims, strict=False)), at,
    )
    return Claims(target, rater, None if names is None else tuple(names), float(expires), audience)
