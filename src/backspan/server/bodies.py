"""Reading request bodies within bounds, whatever the sender claims."""

from __future__ import annotations

import zlib

from starlette.requests import Request

from backspan.server.problems import Problem

MOST_OTLP = 64 * 1024 * 1024
"""Bytes of an OTLP request, as sent and as unpacked."""
MOST_FEEDBACK = 256 * 1024
"""Bytes of a feedback request: the longest comment and correction, every character escaped, with room to spare."""


async def read(request: Request, most: int) -> bytes:
    """The body as sent.

    Raises:
        Problem: 413 past ``most`` bytes, 400 if the sender went away.
    """
    claimed = request.headers.get("content-length", "")
    if claimed.isdigit() and int(claimed) > most:
        raise Problem(413, f"at most {most} bytes")
    parts, size = list[bytes](), 0
    while True:
        message = await request.receive()
        if message["type"] == "http.disconnect":
            raise Problem(400, "the body ended early")
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > most:
            raise Problem(413, f"at most {most} bytes")
        if not message.get("more_body", False):
            return b"".join((*parts, part)) if parts else part
        parts.append(part)


def unpack(body: bytes, encoding: str, most: int) -> bytes:
    """The body without its content encoding: ``gzip``, ``deflate`` or none.

    Raises:
        Problem: 415 for another encoding, 400 for damaged data, 413 if it unpacks to more than ``most`` bytes.
    """
    if encoding in ("", "identity"):
        return body
    if encoding not in ("gzip", "deflate"):
        raise Problem(415, "content-encoding must be gzip, deflate or identity")
    opener = zlib.decompressobj(wbits=31 if encoding == "gzip" else 15)
    try:
        plain = opener.decompress(body, most + 1)
        if len(plain) > most or opener.unconsumed_tail:
            raise Problem(413, f"unpacks to more than {most} bytes")
        plain += opener.flush()
    except zlib.error:
        raise Problem(400, f"the body is not valid {encoding}") from None
    if not opener.eof:
        raise Problem(400, f"the body is not valid {encoding}: it ends early")
    return plain
