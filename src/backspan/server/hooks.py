"""Webhooks of help desks and survey tools as outcomes: which of their fields say what, in a file of ours.

The file (``BACKSPAN_OUTCOME_HOOKS``) maps the name in the URL to fields of an outcome::

    zendesk:
      join_key: detail.external_id
      id: id
      name: ticket_resolved
      value: {path: detail.status, map: {solved: true, closed: true}}
      when: {path: detail.status, is: [solved, closed]}
      signature: {header: x-zendesk-webhook-signature, secret: ZENDESK_SECRET,
                  timestamp: x-zendesk-webhook-signature-timestamp}
      delivery: {header: x-zendesk-webhook-invocation-id}

A field is a path (names and list positions with dots between), or a mapping with ``path`` and ``map``, ``constant``,
``prefix`` (put before the text), or ``time: iso`` (UTC, if it names no zone). ``name`` is a constant unless it is a
mapping. ``each`` is the path of a list of which every item is an outcome. ``list[ref=score]`` is the first item of a
list whose ``ref`` is ``score``. ``delivery`` says by which header, or which path in the body, the sender names what it
sends: under the same name it is not taken again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final, cast

from backspan.config import settings

_FIELDS: Final = ("join_key", "id", "name", "value", "label", "polarity", "assisted", "time")
_TOP: Final = (*_FIELDS, "each", "when", "signature", "delivery")
_MOST_DELIVERY: Final = 512
_SOURCE: Final = ("path", "map", "constant", "prefix", "time")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[([^=\]]+)=([^\]]*)\]")
_MISSING: Final = object()


class HooksError(ValueError):
    """The file of the webhooks is wrong; the message says where."""


class Unfit(ValueError):
    """A webhook's body lacks what its mapping reads. ``field`` is ours, and the message quotes nothing of the body."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(f"{field}: {message}")
        self.field = field


@dataclass(frozen=True)
class Signature:
    """How a webhook shows that it comes from whoever knows a secret: HMAC-SHA-256 of its body in base64, in a header.

    ``secret`` is the name of an environment variable. ``timestamp`` names a header that is put before the body.
    """

    header: str
    secret: str
    prefix: str = ""
    timestamp: str = ""

    def holds(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Tell whether the body was signed with the secret."""
        secret = os.environ.get(self.secret, "")
        before = headers.get(self.timestamp, "").encode() if self.timestamp else b""
        digest = hmac.new(secret.encode(), before + body, hashlib.sha256).digest()
        expected = self.prefix + base64.b64encode(digest).decode()
        return bool(secret) and hmac.compare_digest(headers.get(self.header, "").encode(), expected.encode())


@dataclass(frozen=True)
class Hook:
    """One webhook's mapping, as the module's docstring has it."""

    fields: Mapping[str, Any]
    each: str | None = None
    when: Mapping[str, Any] | None = None
    signature: Signature | None = None
    delivery: Mapping[str, str] | None = None

    def signed(self, headers: Mapping[str, str], body: bytes) -> bool:
        """Tell whether the webhook is signed, so that it needs no key."""
        return self.signature is not None and self.signature.holds(headers, body)

    @property
    def lacks(self) -> str | None:
        """What is told to whoever sent it unsigned, and without a key."""
        return None if self.signature is None else (
            f"the signature in {self.signature.header} does not hold, and there is no API key (Authorization: Bearer)")

    def delivered(self, headers: Mapping[str, str], body: Any) -> str | None:
        """What the sender calls this delivery; None where it is not said."""
        if self.delivery is None:
            return None
        name = self.delivery.get("header")
        found = headers.get(name) if name else _at(body, self.delivery["path"])
        return str(found)[:_MOST_DELIVERY] if isinstance(found, str | int) and str(found) else None

    def read(self, body: Any) -> list[dict[str, Any]]:
        """The outcomes in a body, as `POST /v1/outcomes` takes them; none if ``when`` does not hold.

        Raises:
            Unfit: if a field is not there, or has a value that the mapping does not know.
        """
        items = _at(body, self.each) if self.each else [body]
        if not isinstance(items, list):
            raise Unfit("each", "is no list in this body")
        return [self._outcome(item) for item in cast("list[Any]", items) if self._meant(item)]

    def _meant(self, item: Any) -> bool:
        if self.when is None:
            return True
        wanted = self.when["is"]
        return _at(item, self.when["path"]) in (cast("list[Any]", wanted) if isinstance(wanted, list) else [wanted])

    def _outcome(self, item: Any) -> dict[str, Any]:
        return {field: _value(field, source, item) for field, source in self.fields.items()}


def _value(field: str, source: Any, item: Any) -> Any:
    if field == "name" and isinstance(source, str):
        return source
    said: dict[str, Any] = {"path": source} if isinstance(source, str) else source
    if "constant" in said:
        return said["constant"]
    found = _at(item, said["path"])
    if found is _MISSING or found is None:
        raise Unfit(field, f"there is nothing at {said['path']}")
    if "map" in said:
        key = str(found).lower() if isinstance(found, bool) else str(found)
        if key not in said["map"]:
            raise Unfit(field, f"what is at {said['path']} is not in its map")
        return said["map"][key]
    if "time" in said:
        return _moment(field, found)
    if field in ("join_key", "id", "label"):
        return said.get("prefix", "") + str(found)
    return found


def _moment(field: str, text: Any) -> float:
    try:
        moment = datetime.fromisoformat(str(text).replace("Z", "+00:00"))
    except ValueError:
        raise Unfit(field, "is no moment of ISO 8601") from None
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=timezone.utc)).timestamp()


def _at(item: Any, path: str) -> Any:
    """What is at ``path``: ``a.b.0``, and ``a[key.of=value]`` for the first of a list whose ``key.of`` is ``value``."""
    for step in _STEP.finditer(path):
        name, key, wanted = step.groups()
        if name is None:
            there = cast("list[Any]", item) if isinstance(item, list) else []
            item = next((one for one in there if str(_at(one, key)) == wanted), _MISSING)
        elif isinstance(item, dict):
            item = cast("dict[str, Any]", item).get(name, _MISSING)
        elif isinstance(item, list) and name.isdigit() and int(name) < len(cast("list[Any]", item)):
            item = cast("list[Any]", item)[int(name)]
        else:
            return _MISSING
    return item


# --- the file -------------------------------------------------------------------------------------------------------
def load() -> Mapping[str, Hook]:
    """The webhooks of the file that ``BACKSPAN_OUTCOME_HOOKS`` names; none without it.

    Raises:
        HooksError: if the file is wrong, or a secret that it names is not in the environment.
    """
    file = settings().outcome_hooks
    if file is None:
        return {}
    import yaml

    try:
        said: Any = yaml.safe_load(Path(file).read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise HooksError(f"{file}: {error}") from None
    found = {name: hook(name, given) for name, given in _mapping(said or {}, file, None).items()}
    for name, one in found.items():
        if one.signature is not None and not os.environ.get(one.signature.secret):
            raise HooksError(f"{name}.signature: the environment variable {one.signature.secret} is not set")
    return found


def hook(name: str, given: Any) -> Hook:
    """One webhook from its part of the file.

    Raises:
        HooksError: if it is wrong.
    """
    said = _mapping(given, name, _TOP)
    fields = {field: said[field] for field in _FIELDS if field in said}
    if "name" not in fields or ("join_key" not in fields and "id" not in fields):
        raise HooksError(f"{name}: wants name, and join_key (or id, for work without a model)")
    for field, source in fields.items():
        if not isinstance(source, str):
            _source(f"{name}.{field}", source)
    when, each = said.get("when"), said.get("each")
    if when is not None and _mapping(when, f"{name}.when", ("path", "is")).keys() != {"path", "is"}:
        raise HooksError(f"{name}.when: wants path and is")
    if each is not None and not isinstance(each, str):
        raise HooksError(f"{name}.each: must be a path")
    return Hook(fields, each, when, _signature(name, said.get("signature")), _delivery(name, said.get("delivery")))


def _source(where: str, said: Any) -> None:
    given = _mapping(said, where, _SOURCE)
    if ("path" in given) == ("constant" in given):
        raise HooksError(f"{where}: wants path or constant")
    if "map" in given:
        _mapping(given["map"], f"{where}.map", None)
    if given.get("time", "iso") != "iso":
        raise HooksError(f"{where}.time: must be iso")


def _signature(name: str, said: Any) -> Signature | None:
    if said is None:
        return None
    given = _mapping(said, f"{name}.signature", ("header", "secret", "prefix", "timestamp"))
    if not {"header", "secret"} <= given.keys() or not all(isinstance(one, str) for one in given.values()):
        raise HooksError(f"{name}.signature: wants header and secret, as text")
    return Signature(**given)


def _delivery(name: str, said: Any) -> Mapping[str, str] | None:
    if said is None:
        return None
    given = _mapping(said, f"{name}.delivery", ("header", "path"))
    if len(given) != 1 or not all(isinstance(one, str) and one for one in given.values()):
        raise HooksError(f"{name}.delivery: wants header or path, as text")
    return given


def _mapping(said: Any, where: str, allowed: tuple[str, ...] | None) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise HooksError(f"{where}: must be a mapping")
    given = cast("dict[Any, Any]", said)
    unknown = next((key for key in given if allowed is not None and key not in allowed), None)
    if unknown is not None:
        raise HooksError(f"{where}: {unknown!r} is unknown; known are {', '.join(allowed or ())}")
    return {str(key).lower() if isinstance(key, bool) else str(key): value for key, value in given.items()}
