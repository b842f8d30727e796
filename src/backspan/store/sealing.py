"""Sealed texts: questions, documents, answers, comments and corrections are encrypted in the database, field by field.

``BACKSPAN_FIELD_KEYS`` holds the keys: the first seals, all open; without it texts are stored as they are. A value is
sealed with AES-256-GCM (NIST SP 800-38D) for its table, column and row, so it opens nowhere else. It begins with
`PREFIX` and the id of its key; what does not is text from before. Ids, numbers, labels and the ids and scores of
documents stay readable: counting, joining and reports by document need no key.

`sealed` is called for every row on its way in; on the way out the columns open their values themselves
(`backspan.store.columns`). A value that is damaged, or not in its place any more, reads as absent, and the log says so.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import logging
import os
from collections.abc import Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, cast

from backspan.config import settings

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

logger = logging.getLogger("backspan.store")

PREFIX = "bsf1."
_AS_IT_IS = "bsf0."
"""Put before a text that begins like one of ours."""
_NONCE = 12
COLUMNS: Mapping[str, tuple[str, ...]] = {
    "calls": ("query", "answer", "messages", "documents"), "turns": ("query", "answer", "documents"),
    "votes": ("comment", "correction", "details"), "vote_log": ("comment", "correction", "details"),
}
"""What is sealed, by table."""
ROWS: Mapping[str, tuple[str, ...]] = {
    "calls": ("trace_id", "span_id"), "turns": ("turn_id",), "votes": ("id",), "vote_log": ("id", "version")}
"""The columns that say which row it is."""
_READABLE = ("id", "score")
"""Of a document: what is not sealed."""
SEALED = "sealed"
"""Name of the rest of a document, where it is sealed."""
Row = TypeVar("Row", bound=Mapping[str, Any])


class KeyFault(RuntimeError):
    """A key of ``BACKSPAN_FIELD_KEYS`` is malformed, or one is missing."""


class Ring:
    """Keys to seal and open with.

    Args:
        keys: each 32 bytes in URL-safe base64; the first seals.

    Raises:
        KeyFault: if one is none.
    """

    def __init__(self, keys: tuple[str, ...]) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM  # of the extra `server`

        raw = [_raw(key) for key in keys]
        self.ids = tuple(hashlib.sha256(b"backspan field key" + key).hexdigest()[:8] for key in raw)
        self._ciphers: Mapping[str, AESGCM] = {id: AESGCM(key) for id, key in zip(self.ids, raw, strict=True)}
        self._secret = raw[0]

    def seal(self, text: str, place: str) -> str:
        """``text`` sealed for ``place`` with the first key."""
        nonce, cipher = os.urandom(_NONCE), self._ciphers[self.ids[0]]
        said = nonce + cipher.encrypt(nonce, text.encode("utf-8", "surrogatepass"), place.encode("utf-8"))
        return f"{PREFIX}{self.ids[0]}.{base64.urlsafe_b64encode(said).decode()}"

    def open(self, text: str, place: str) -> str | None:
        """What was sealed for ``place``; None if the text is damaged or belongs elsewhere.

        Raises:
            KeyFault: if its key is not here.
        """
        from cryptography.exceptions import InvalidTag

        id, _, said = text[len(PREFIX):].partition(".")
        cipher = self._ciphers.get(id)
        if cipher is None:
            raise missing({id})
        try:
            found = base64.b64decode(said, altchars=b"-_", validate=True)
            return cipher.decrypt(found[:_NONCE], found[_NONCE:], place.encode("utf-8")).decode(
                "utf-8", "surrogatepass")
        except (InvalidTag, ValueError):  # ValueError: no base64, or too short
            return None

    def fingerprint(self, said: bytes) -> str:
        """A hash that only who has the first key can make."""
        return hashlib.blake2b(said, key=self._secret, digest_size=32).hexdigest()


def _raw(key: str) -> bytes:
    try:
        raw = base64.urlsafe_b64decode(key)
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != 32:
        raise KeyFault("BACKSPAN_FIELD_KEYS: each key is 32 bytes in URL-safe base64 (`backspan store key` makes one)")
    return raw


def missing(ids: set[str]) -> KeyFault:
    """The fault that keys of these ids are needed and not here."""
    return KeyFault(f"holds texts sealed with the key {', '.join(sorted(ids))}, which is not in BACKSPAN_FIELD_KEYS")


@lru_cache(maxsize=8)
def _ring(keys: tuple[str, ...]) -> Ring:
    return Ring(keys)


def ring() -> Ring | None:
    """The keys of this process; None if there are none.

    Raises:
        KeyFault: if one is malformed.
    """
    keys = settings().field_keys
    return _ring(keys) if keys else None


def fingerprint(said: bytes) -> str:
    """A hash of something that may hold a text: keyed where texts are sealed, so that nobody can try out texts."""
    keys = ring()
    return hashlib.sha256(said).hexdigest() if keys is None else keys.fingerprint(said)


def new_key() -> str:
    """A fresh key, from the operating system's randomness."""
    return base64.urlsafe_b64encode(os.urandom(32)).decode()


# --- on the way in --------------------------------------------------------------------------------------------------
def sealed(table: str, row: Row) -> Row | dict[str, Any]:
    """``row`` as it is to be stored: with its texts sealed. The row itself is not changed."""
    keys = ring()
    given = [name for name in COLUMNS[table] if row.get(name)]
    if not given:
        return row
    return {**row, **{name: sealed_value(keys, row[name], place(table, name, row)) for name in given}}


def place(table: str, column: str, row: Mapping[str, Any]) -> str:
    """What a value is sealed for."""
    return f"{table}\x1f{column}\x1f{'-'.join(str(row[name]) for name in ROWS[table])}"


def is_documents(place: str) -> bool:
    """Tell whether a place is a list of documents."""
    return place.split("\x1f", 2)[1] == "documents"


def sealed_value(keys: Ring | None, value: Any, place: str) -> Any:
    """One value as it is to be stored. A list of documents stays a list; other JSON becomes a string."""
    if isinstance(value, str):
        return _text(keys, value, place)
    if is_documents(place):
        each = enumerate(cast("list[Any]", value))
        return [sealed_document(keys, one, f"{place}\x1f{number}") for number, one in each]
    return value if keys is None else keys.seal(json.dumps(value), place)


def _text(keys: Ring | None, text: str, place: str) -> str:
    if keys is not None:
        return keys.seal(text, place)
    return _AS_IT_IS + text if text.startswith((PREFIX, _AS_IT_IS)) else text


def sealed_document(keys: Ring | None, document: Any, place: str) -> Any:
    """A document as it is to be stored: its id and score can be read."""
    if not isinstance(document, dict):
        return document if keys is None else {SEALED: keys.seal(json.dumps(document), place)}
    said = cast("dict[str, Any]", document)
    if keys is None:
        return {name: _text(None, value, place) if name == SEALED and isinstance(value, str) else value
                for name, value in said.items()}
    hidden = {name: value for name, value in said.items() if name not in _READABLE}
    if not hidden:
        return said
    readable = {name: said[name] for name in _READABLE if name in said}
    return {**readable, SEALED: keys.seal(json.dumps(hidden), place)}


# --- on the way out --------------------------------------------------------------------------------------------------
def opened_text(stored: str, place: str) -> str | None:
    """A text as it was before `sealed`; None, said in the log, if it is damaged."""
    if stored.startswith(_AS_IT_IS):
        return stored[len(_AS_IT_IS):]
    if not stored.startswith(PREFIX):
        return stored
    keys = ring()
    if keys is None:
        raise missing({stored[len(PREFIX):].partition(".")[0]})
    found = keys.open(stored, place)
    if found is None:
        table, column, _ = place.split("\x1f", 2)
        logger.error("a sealed text of %s.%s is damaged, or was moved from where it belongs: it is left out",
                     table, column)
    return found


def sealed_part(stored: Any) -> str | None:
    """What is sealed of a stored document, or looks so; None if nothing is."""
    said: Any = cast("dict[str, Any]", stored).get(SEALED) if isinstance(stored, dict) else None
    return said if isinstance(said, str) and said.startswith(PREFIX) else None


def opened_document(stored: Any, place: str) -> Any:
    """A document as it was before `sealed`; without what is damaged."""
    said: Any = cast("dict[str, Any]", stored).get(SEALED) if isinstance(stored, dict) else None
    if not isinstance(said, str):
        return cast("Any", stored)
    rest = {name: value for name, value in cast("dict[str, Any]", stored).items() if name != SEALED}
    found = opened_text(said, place)
    if not said.startswith(PREFIX):
        return {**rest, SEALED: found}
    hidden = None if found is None else json.loads(found)
    if not rest and not isinstance(hidden, dict):
        return hidden
    return {**rest, **(cast("dict[str, Any]", hidden) if isinstance(hidden, dict) else {})}
