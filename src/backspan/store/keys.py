"""API keys of servers: an id to find the key by, and the SHA-256 of its secret. The secret itself is nowhere.

A secret is 256 random bits, so a plain hash tells nothing about it: slow hashes are for what people make up.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa
from sqlalchemy import Column, Connection, Float, String, Table

from backspan.store.schema import JSON, metadata

PREFIX = "bsk1."
"""Begins every key: it tells a key from a feedback token, and names its layout."""

api_keys = Table(
    "api_keys", metadata,
    Column("id", String, primary_key=True), Column("label", String, nullable=False, default="", server_default=""),
    Column("digest", String, nullable=False), Column("scopes", JSON, nullable=False),
    Column("created", Float, nullable=False), Column("revoked", Float),
)
"""Keys ever made. ``revoked`` is when one was taken back (Unix seconds)."""


@dataclass(frozen=True)
class ApiKey:
    """One key, without its secret. Times are Unix seconds."""

    id: str
    label: str
    scopes: frozenset[str]
    digest: str
    created: float
    revoked: float | None

    def opens(self, secret: str) -> bool:
        """Tell whether ``secret`` is the one of this key, in a time that says nothing."""
        return self.revoked is None and hmac.compare_digest(self.digest, _digest(secret))


def add(conn: Connection, scopes: Collection[str], label: str, now: float) -> tuple[ApiKey, str]:
    """Make a key; returns it with its text, which is to be had only here."""
    id, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
    key = ApiKey(id, label, frozenset(scopes), _digest(secret), now, None)
    conn.execute(api_keys.insert().values(
        id=id, label=label, digest=key.digest, scopes=sorted(key.scopes), created=now, revoked=None))
    return key, f"{PREFIX}{id}.{secret}"


def all_of(conn: Connection) -> list[ApiKey]:
    """Every key, oldest first, revoked ones too."""
    rows = conn.execute(sa.select(api_keys).order_by(api_keys.c.created, api_keys.c.id)).mappings()
    return [_key(dict(row)) for row in rows]


def revoke(conn: Connection, id: str, now: float) -> bool:
    """Take a key back for good; False if there is none of that id that still opens anything."""
    live = sa.and_(api_keys.c.id == id, api_keys.c.revoked.is_(None))
    return conn.execute(sa.update(api_keys).where(live).values(revoked=now)).rowcount == 1


def split(text: str) -> tuple[str, str] | None:
    """Id and secret of the text of a key; None if it does not look like one."""
    if not text.startswith(PREFIX):
        return None
    id, _, secret = text[len(PREFIX):].partition(".")
    return (id, secret) if id and secret else None


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _key(row: dict[str, Any]) -> ApiKey:
    row["scopes"] = frozenset(row["scopes"])
    return ApiKey(**row)
