"""How many votes a second one server process commits: tokens, real HTTP, real SQLite, fsync on every commit.

    python benchmarks/gateway/votes.py [--votes 20000] [--connections 64] [--mode gateway|up] [--json]

Prints accepted votes per second and the latency's quantiles, and checks that every accepted vote is stored once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LEAST_PER_SECOND, MOST_P99_S = 3000, 0.050


def tokens(count: int) -> list[str]:
    """One token for each of ``count`` different answers."""
    from backspan import semconv
    from backspan.context import Target
    from backspan.feedback.token import mint

    dims = dict.fromkeys((*semconv.DIMENSIONS, semconv.SERVICE_NAME), "bench")
    made = [mint(Target(f"{n + 1:032x}", f"{n + 1:016x}", 1, f"chatcmpl-{n}", None, None, dims, time.time()))
            for n in range(count)]
    return [token for token in made if token is not None]


async def client(port: int, work: list[str], seconds: list[float], statuses: dict[int, int]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    body = b'{"thumbs":false,"reasons":["inaccurate"]}'
    while work:
        head = (f"POST /v1/feedback HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/json\r\n"
                f"backspan-token: {work.pop()}\r\ncontent-length: {len(body)}\r\n\r\n")
        began = time.perf_counter()
        writer.write(head.encode() + body)
        answer = await reader.readuntil(b"\r\n\r\n")
        length = int(answer.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        await reader.readexactly(length)
        seconds.append(time.perf_counter() - began)
        status = int(answer[9:12])
        statuses[status] = statuses.get(status, 0) + 1
    writer.close()


async def load(port: int, work: list[str], connections: int) -> tuple[float, list[float], dict[int, int]]:
    seconds: list[float] = []
    statuses: dict[int, int] = {}
    began = time.perf_counter()
    await asyncio.gather(*(client(port, work, seconds, statuses) for _ in range(connections)))
    return time.perf_counter() - began, sorted(seconds), statuses


def start(mode: str, folder: str) -> tuple[subprocess.Popen[str], int]:
    command = [sys.executable, "-m", "backspan", mode, "--port", "0", "--db", f"{folder}/votes.db"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    line = process.stderr.readline()
    if "http://" not in line:
        raise SystemExit(line + process.stderr.read())
    return process, int(line.split(",")[0].rsplit(":", 1)[1])


def measure(mode: str, votes: int, connections: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["BACKSPAN_DATA_DIR"] = folder
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = "http://127.0.0.1:9"  # votes wait in the outbox
        work = tokens(votes + 500)
        process, port = start(mode, folder)
        try:
            asyncio.run(load(port, work[:500], connections))
            elapsed, seconds, statuses = asyncio.run(load(port, work[500:], connections))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
        stored = _stored(Path(folder) / "votes.db")
    return {
        "mode": mode, "votes": votes, "connections": connections, "statuses": statuses, "stored": stored,
        "per_second": round(votes / elapsed), "p50_ms": round(1e3 * seconds[len(seconds) // 2], 1),
        "p99_ms": round(1e3 * seconds[int(len(seconds) * 0.99)], 1),
        "good": statuses == {201: votes} and stored == votes + 500,
    }


def _stored(path: Path) -> int:
    import sqlite3

    return sqlite3.connect(path).execute("SELECT count(*) FROM vote_log").fetchone()[0]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--votes", type=int, default=20_000)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--mode", choices=("gateway", "up"), default="gateway")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.mode, args.votes, args.connections)
    if args.json:
        print(json.dumps(found))
    else:
        print(f"{found['per_second']} votes/s (at least {LEAST_PER_SECOND}), p50 {found['p50_ms']} ms, "
              f"p99 {found['p99_ms']} ms (at most {1e3 * MOST_P99_S:.0f}), stored {found['stored']}, "
              f"{found['statuses']}")
    fine = found["good"] and found["per_second"] >= LEAST_PER_SECOND and found["p99_ms"] <= 1e3 * MOST_P99_S
    return 0 if fine else 1


if __name__ == "__main__":
    sys.exit(main())
