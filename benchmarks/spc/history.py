"""Hours of history for a Prometheus that has just been started: remote write, encoded by hand.

Samples arrive in order of time, so Prometheus stores them as it would have over the hours: blocks, head and log. The
message is `prometheus.WriteRequest` (https://prometheus.io/docs/specs/prw/remote_write_spec/), whose samples all have
the same length, so that numpy can fill in thousands at once. Snappy's format allows a text that is one literal
(https://github.com/google/snappy/blob/main/format_description.txt), which is what is sent.
"""

from __future__ import annotations

import urllib.request
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import numpy as np

STEPS_A_REQUEST = 20
SERIES_A_REQUEST = 10_000
_SAMPLE = 18
"""Bytes of one sample: tag and length, a double after its tag, a time in ms of six bytes after its tag."""

Values = Callable[["np.ndarray"], "np.ndarray"]
"""Unix times in seconds, shape (steps,) -> values, shape (series, steps)."""


def send(url: str, labels: Sequence[Mapping[str, str]], times: np.ndarray, values: Values) -> int:
    """Write every series at every one of ``times`` (seconds, ascending); NaN is no sample. Returns samples sent."""
    heads = [_labels(one) for one in labels]
    sent = 0
    cuts = [*range(0, len(times), STEPS_A_REQUEST), len(times)]
    for first, last in pairwise(cuts):
        matrix = values(times[first:last])
        for begin in range(0, len(heads), SERIES_A_REQUEST):
            part = slice(begin, begin + SERIES_A_REQUEST)
            _post(url, _request(heads[part], times[first:last], matrix[part]))
        sent += int(np.isfinite(matrix).sum())
    return sent


def _request(heads: Sequence[bytes], times: np.ndarray, values: np.ndarray) -> bytes:
    block = np.zeros((*values.shape, _SAMPLE), np.uint8)
    block[..., 0], block[..., 1], block[..., 2], block[..., 11] = 0x12, 16, 0x09, 0x10
    block[..., 3:11] = np.ascontiguousarray(values, "<f8")[..., None].view(np.uint8)
    block[..., 12:] = np.array([list(_varint(round(at * 1000))) for at in times], np.uint8)
    there = np.isfinite(values)
    full = there.all(axis=1)
    rows = (block[i].tobytes() if full[i] else block[i][there[i]].tobytes() for i in range(len(heads)))
    return b"".join(_field(1, head + row) for head, row in zip(heads, rows, strict=True) if row)


def _labels(labels: Mapping[str, str]) -> bytes:
    pairs = (_field(1, key.encode()) + _field(2, value.encode()) for key, value in sorted(labels.items()))
    return b"".join(_field(1, pair) for pair in pairs)


def _field(number: int, body: bytes) -> bytes:
    return bytes((number << 3 | 2,)) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)


def _post(url: str, body: bytes) -> None:
    literal = bytes((63 << 2,)) + (len(body) - 1).to_bytes(4, "little")
    headers = {
        "Content-Encoding": "snappy",
        "Content-Type": "application/x-protobuf",
        "X-Prometheus-Remote-Write-Version": "0.1.0",
    }
    request = urllib.request.Request(f"{url}/api/v1/write", _varint(len(body)) + literal + body, headers)
    with urllib.request.urlopen(request, timeout=120):
        pass
