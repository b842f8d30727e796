"""The floor of `votes.py`: the least that commits a vote before it answers. A yardstick, not a gateway.

Plain ASGI on uvicorn; one thread that takes what waits, inserts it into a table with one index and commits, with fsync.
No token, no limit, no guard, no count, no outbox.

    python benchmarks/gateway/floor.py DATABASE
"""

from __future__ import annotations

import asyncio
import json
import queue
import sqlite3
import sys
import threading
import time
from typing import Any

import uvicorn

waiting: queue.SimpleQueue[tuple[tuple[Any, ...], asyncio.Future[None]]] = queue.SimpleQueue()


def settle(group: list[asyncio.Future[None]]) -> None:
    for done in group:
        if not done.done():
            done.set_result(None)


def made(path: str) -> sqlite3.Connection:
    """The database, with its tables."""
    database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        database.execute(f"PRAGMA {pragma}")
    database.execute("CREATE TABLE vote_log (id TEXT PRIMARY KEY, value TEXT, received REAL)")
    database.execute("CREATE TABLE outbox (seq INTEGER PRIMARY KEY, emitted REAL)")
    return database


def write(database: sqlite3.Connection, loop: asyncio.AbstractEventLoop) -> None:
    """Commit whatever waits, for ever."""
    while True:
        group = [waiting.get()]
        while not waiting.empty() and len(group) < 512:
            group.append(waiting.get())
        now = time.time()
        database.execute("BEGIN IMMEDIATE")
        database.executemany("INSERT INTO vote_log VALUES (?, ?, ?)", [(*row, now) for row, _ in group])
        database.execute("COMMIT")
        loop.call_soon_threadsafe(settle, [done for _, done in group])


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Store a vote under its token."""
    message = await receive()
    if scope["type"] != "http":  # the lifespan
        await send({"type": f"{message['type']}.complete"})
        return
    json.loads(message["body"])
    token = dict(scope["headers"])[b"backspan-token"].decode()
    done = asyncio.get_running_loop().create_future()
    waiting.put(((token, message["body"].decode()), done))
    await done
    headers = [(b"content-length", b"2"), (b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": 201, "headers": headers})
    await send({"type": "http.response.body", "body": b"{}"})


class Server(uvicorn.Server):
    """Says where it listens, as the gateway does."""

    async def startup(self, sockets: Any = None) -> None:
        works = made(sys.argv[1]), asyncio.get_running_loop()
        threading.Thread(target=write, args=works, daemon=True).start()
        await super().startup(sockets)
        port = self.servers[0].sockets[0].getsockname()[1]
        print(f"floor at http://127.0.0.1:{port}, nothing else", file=sys.stderr, flush=True)


if __name__ == "__main__":
    Server(uvicorn.Config(app, port=0, log_level="warning", access_log=False)).run()
