"""The other process of `votes.py`: posts one vote per token over kept connections, as fast as it is answered.

Every vote comes from another address, by what a proxy would say; thumbs, stars and reasons vary, one in twenty has a
comment.

    python benchmarks/gateway/load.py PORT CONNECTIONS < tokens

Prints JSON: seconds, every latency's quantiles, statuses, and the CPU that this process itself took. It speaks HTTP by
hand in one thread over epoll, so that what it costs is a fraction of what it measures.
"""

from __future__ import annotations

import json
import random
import selectors
import socket
import sys
import time
from collections.abc import Iterator

_REASONS = ("inaccurate", "incomplete", "too_long", "off_topic", "other")
_VERDICTS = [f'"thumbs":{said}' for said in ("true", "false")] + [f'"stars":{stars}' for stars in range(1, 6)]
_WORDS = [first + last for first in ("re", "un", "over", "mis") for last in (
    "turn", "paid", "made", "take", "read", "load", "play", "call", "sent", "told", "cast", "done", "lay", "set")]
_NO_ANSWER = 60.0


def request(number: int, token: bytes) -> bytes:
    """The ``number``-th vote."""
    verdict, reason = _VERDICTS[number % len(_VERDICTS)], _REASONS[number % len(_REASONS)]
    bad = "false" in verdict or verdict[-1] in "12"
    words = random.Random(number).sample(_WORDS, 6)
    comment = f',"comment":"{" ".join(words)}"' if number % 20 == 0 else ""
    body = ("{" + verdict + (f',"reasons":["{reason}"]' if bad else "") + comment + "}").encode()
    address = f"{11 + number % 100}.{number // 100 % 250}.{number // 25_000 % 250}.7"
    head = (f"POST /v1/feedback HTTP/1.1\r\nhost: gateway\r\ncontent-type: application/json\r\n"
            f"x-forwarded-for: {address}\r\ncontent-length: {len(body)}\r\nbackspan-token: ")
    return b"".join((head.encode(), token, b"\r\n\r\n", body))


class Client:
    """One connection, with at most one request on its way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.began = 0.0
        self._read = b""

    def post(self, request: bytes) -> None:
        """Send one vote."""
        self.began = time.perf_counter()
        self.socket.sendall(request)

    def answer(self) -> int:
        """The status, if the whole answer is there, else 0."""
        part = self.socket.recv(65536)
        if not part:
            raise ConnectionError("the server closed a connection")
        self._read += part
        head, blank, body = self._read.partition(b"\r\n\r\n")
        if not blank:
            return 0
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return 0
        self._read = b""
        return int(head[9:12])


def post_all(port: int, connections: int, requests: Iterator[bytes]) -> tuple[list[float], dict[int, int]]:
    """Seconds of every request, and how often each status was answered."""
    seconds: list[float] = []
    statuses: dict[int, int] = {}
    with selectors.EpollSelector() as waiting:
        for _, vote in zip(range(connections), requests, strict=False):
            client = Client(port)
            waiting.register(client.socket, selectors.EVENT_READ, client)
            client.post(vote)
        while waiting.get_map():
            ready = waiting.select(_NO_ANSWER)
            if not ready:
                raise TimeoutError(f"no answer for {_NO_ANSWER:.0f} s")
            for key, _ in ready:
                client = key.data
                status = client.answer()
                if not status:
                    continue
                seconds.append(time.perf_counter() - client.began)
                statuses[status] = statuses.get(status, 0) + 1
                vote = next(requests, None)
                if vote is None:
                    waiting.unregister(client.socket)
                    client.socket.close()
                else:
                    client.post(vote)
    return seconds, statuses


def main() -> None:
    port, connections = int(sys.argv[1]), int(sys.argv[2])
    requests = [request(number, token) for number, token in enumerate(sys.stdin.buffer.read().split())]
    cpu, began = time.process_time(), time.perf_counter()
    seconds, statuses = post_all(port, connections, iter(requests))
    elapsed = time.perf_counter() - began
    seconds.sort()
    print(json.dumps({
        "seconds": elapsed, "statuses": statuses, "client_cpu_us": 1e6 * (time.process_time() - cpu) / len(requests),
        **{f"p{share}_ms": 1e3 * seconds[int(len(seconds) * share / 100)] for share in (50, 99)},
        "most_ms": 1e3 * seconds[-1],
    }))


if __name__ == "__main__":
    main()
