"""Files that the application uploads with a request: type, size and hash, of what is in memory anyway.

A stream is the application's and will be read by its HTTP client: it is neither read nor moved here. What it says of
itself without that, its name and the size of the file behind it, is recorded.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from mimetypes import guess_type
from typing import Any, cast

from backspan.instrument._content import Json, blob_part, each
from backspan.redact.parts import redacted

FILES = "(files)"
"""Where a request's fields have its files: no field of a body is called that."""
_KINDS = {"images": "image", "videos": "video", "audio": "audio"}
_MEDIA = frozenset(_KINDS.values())
_FILES = (io.BufferedReader, io.BufferedRandom, io.FileIO)
"""Open files, by exact type: asking others for their number may do more than answer (`SpooledTemporaryFile` writes)."""


def parts_of(files: Any, api: str) -> list[Json]:
    """A part for each of ``files``, in the forms that httpx takes them in."""
    pairs = each(list(cast("Mapping[Any, Any]", files).items()) if isinstance(files, Mapping) else files)
    return [_part(pair[1], _KINDS.get(api, "file")) for pair in pairs if len(each(pair)) == 2]


def _part(file: Any, kind: str) -> Json:
    said: tuple[Any, ...] = cast("tuple[Any, ...]", file) if isinstance(file, tuple) else (_name(file), file)
    data: Any = said[1] if len(said) > 1 else None
    name = os.path.basename(said[0]) if said and isinstance(said[0], str) else None
    mime: Any = said[2] if len(said) > 2 and isinstance(said[2], str) else guess_type(name or "")[0]
    given = str(mime or "").partition("/")[0]
    modality = given if given in _MEDIA else kind
    if type(data) is io.BytesIO:
        data = data.getvalue()  # all of it is sent, from wherever it stands
    if isinstance(data, bytes):
        return blob_part(modality, mime, data)
    part: Json = {"type": "blob", "modality": modality, "content": ""}
    size = _size(data)
    return part | {key: value for key, value in (
        ("mime_type", mime), ("size", size), ("name", redacted(name) if name else None)) if value is not None}


def _name(file: Any) -> str | None:
    name: Any = getattr(file, "name", None) if type(file) in _FILES else None
    return name if isinstance(name, str) else None


def _size(file: Any) -> int | None:
    if type(file) not in _FILES or file.closed:
        return None
    return os.fstat(file.fileno()).st_size or None
