"""The seal of feedback tokens: AES-256-GCM with a key of a ring, which the sealed text names by an id.

A sealed text is, in URL-safe base64 without padding, the id of its key (4 bytes), a random nonce (12), and what is
sealed with its tag (16). Id and prefix are authenticated too. Nonces are random, so one key seals at most 2**32 texts
(NIST SP 800-38D, 8.3): a service that mints a hundred a second changes its key once a year.
"""

from __future__ import annotations

import base64
import os
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from hashlib import sha256
from typing import Final

_ID, _NONCE = 4, 12
_TO_URL: Final = bytes.maketrans(b"+/", b"-_")
_FROM_URL: Final = bytes.maketrans(b"-_", b"+/")


class Broken(Exception):
    """A text that no key of the ring has sealed, or that was changed since."""


class Ring:
    """Keys: the first seals, all open.

    Args:
        keys: each 32 bytes in URL-safe base64, as `Fernet.generate_key` makes them.
        prefix: what stands before every sealed text, in the clear.

    Raises:
        ImportError: without the package ``cryptography``.
        ValueError: for what is no such key.
    """

    def __init__(self, keys: Sequence[str], prefix: str) -> None:
        from cryptography.exceptions import InvalidTag
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        raw = [_raw(key) for key in keys]
        self._changed: type[Exception] = InvalidTag
        self._prefix = prefix
        self._seen = prefix.encode()
        self._ciphers = {_id(key): AESGCM(key) for key in raw}
        self._first = _id(raw[0])

    def seal(self, plain: bytes) -> str:
        """The sealed text of ``plain``, with the prefix."""
        nonce = os.urandom(_NONCE)
        sealed = self._ciphers[self._first].encrypt(nonce, plain, self._first + self._seen)
        return self._prefix + _text(self._first + nonce + sealed).decode()

    def open(self, text: str) -> bytes:
        """What was sealed.

        Raises:
            Broken: if it was not sealed by a key of this ring, or is not letter by letter what `seal` gave.
        """
        try:
            said = text[len(self._prefix):].encode("ascii")
            whole = a2b_base64(said.translate(_FROM_URL) + b"=" * (-len(said) % 4))
        except ValueError:
            raise Broken from None
        key, cipher = whole[:_ID], self._ciphers.get(whole[:_ID])
        if cipher is None or _text(whole) != said:  # base64 passes over some letters: no token has two spellings
            raise Broken
        try:
            return cipher.decrypt(whole[_ID:_ID + _NONCE], whole[_ID + _NONCE:], key + self._seen)
        except self._changed:
            raise Broken from None


def _text(raw: bytes) -> bytes:
    return b2a_base64(raw, newline=False).translate(_TO_URL).rstrip(b"=")


def _raw(key: str) -> bytes:
    raw = base64.urlsafe_b64decode(key)
    if len(raw) != 32:
        raise ValueError("a key has 32 bytes")
    return raw


def _id(key: bytes) -> bytes:
    return sha256(b"backspan token key" + key).digest()[:_ID]
