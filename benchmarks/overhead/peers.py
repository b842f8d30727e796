"""What every instrumentation of openai costs, side by side: us, the floor, and the others, interleaved in one run.

    python benchmarks/overhead/peers.py             measure (half an hour), write peers.json and the page
    python benchmarks/overhead/peers.py --quick     few rounds, print only: shows that it runs
    python benchmarks/overhead/peers.py --page      write the page from peers.json
    python benchmarks/overhead/peers.py --check     exit 1 if the page is not what the file says

Needs `pip install --group peers`; --page and --check need nothing but Python. Each side runs in a process of its own;
in every round each makes the same calls, in turn, and the figure of a side is the median over the rounds of its
difference to the process without instrumentation. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import threading
from collections.abc import Generator, Iterable
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[1])]
RESULT = HERE / "peers.json"
PAGE = HERE.parents[1] / "docs" / "explanation" / "overhead.md"
ROUNDS, QUICK_ROUNDS, STARTS = 30, 2, 7
OFF, ON = "off", "on"


# --- a place to send to ---------------------------------------------------------------------------------------------
class _Sink(BaseHTTPRequestHandler):
    """Takes any OTLP and keeps nothing but its size."""

    protocol_version = "HTTP/1.1"
    received = 0

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        self.rfile.read(size)
        _Sink.received += size
        self.send_response(200)
        self.send_header("Content-Type", "application/x-protobuf")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def sink() -> Generator[str]:
    """A receiver in this process, by its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Sink)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


# --- one process ----------------------------------------------------------------------------------------------------
@dataclass
class Worker:
    """A process with one side installed."""

    process: subprocess.Popen[str]
    pid: int
    start_us: float

    def ask(self, **what: Any) -> dict[str, float]:
        """One answer. Raises RuntimeError if the process ended."""
        assert self.process.stdin is not None and self.process.stdout is not None
        print(json.dumps(what), file=self.process.stdin, flush=True)
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.process.args} ended")
        return json.loads(line)

    def close(self) -> None:
        """End it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def _environment(name: str, content: str, endpoint: str) -> dict[str, str]:
    from sides import SIDES

    side = SIDES[name]
    clean = {key: value for key, value in os.environ.items() if not key.startswith(("OTEL_", "BACKSPAN"))}
    chosen = side.on if content == ON else side.off or {}
    sending = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint or "http://127.0.0.1:9", "OTEL_METRICS_EXPORTER": "none"}
    return {**clean, **sending, **chosen, "NO_PROXY": "*", "LOGFIRE_IGNORE_NO_CONFIG": "1"}


@contextmanager
def worker(name: str, content: str, endpoint: str = "", before: Iterable[str] = ()) -> Generator[Worker]:
    """A process with the side ``name``, which sends to ``endpoint`` (empty: drops), started by ``before``."""
    command = [*before, sys.executable, str(HERE / "worker.py"), name, endpoint]
    process = subprocess.Popen(command, env=_environment(name, content, endpoint), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"{name} did not start: {' '.join(command)}")
    ready = json.loads(line)
    one = Worker(process, ready["pid"], ready["start"])
    try:
        yield one
    finally:
        one.close()


# --- measuring ------------------------------------------------------------------------------------------------------
@dataclass
class Mode:
    """One table: content off or on, spans dropped or sent. ``added`` is microseconds a call, by call and side."""

    content: str
    export: str
    base: dict[str, float] = field(default_factory=dict[str, float])
    added: dict[str, dict[str, float]] = field(default_factory=dict[str, dict[str, float]])
    bytes: dict[str, float] = field(default_factory=dict[str, float])


def sides(content: str, export: str) -> list[str]:
    """Who can be measured so: a side without a switch for content is measured with content only."""
    from sides import SIDES

    left_out = {"backspan, own queue"} if export == "dropped" else set[str]()
    return [name for name, side in SIDES.items()
            if side.version is not None and name not in left_out and (content == ON or side.off is not None)]


def measure(content: str, export: str, rounds: int) -> Mode:
    """One mode, every side interleaved."""
    from model import TIMES

    mode = Mode(content, export)
    with ExitStack() as stack:
        endpoint = stack.enter_context(sink()) if export == "sent" else ""
        running = {name: stack.enter_context(worker(name, content, endpoint)) for name in sides(content, export)}
        for call, times in TIMES.items():
            _measure_call(mode, running, call, times, rounds, bool(endpoint))
        if endpoint:
            mode.bytes = {name: _bytes(one) for name, one in running.items()}
    return mode


def _measure_call(mode: Mode, running: dict[str, Worker], call: str, times: int, rounds: int, flush: bool) -> None:
    """Process CPU, so that what a side does in a thread of its own is counted too."""
    seen: dict[str, list[float]] = {name: [] for name in running}
    for number in range(rounds + 1):
        for name, one in running.items():
            one.ask(collect=True)
            spent = one.ask(run=call, times=times, flush=flush)["process"]
            if number:  # the first round fills caches
                seen[name].append(spent)
    mode.base[call] = statistics.median(seen["none"])
    for name, spent in seen.items():
        differences = [one - bare for one, bare in zip(spent, seen["none"], strict=True)]
        mode.added.setdefault(call, {})[name] = statistics.median(differences)


def _bytes(one: Worker) -> float:
    from model import SHORT

    one.ask(run=SHORT, times=1, flush=True)
    before = _Sink.received
    one.ask(run=SHORT, times=100, flush=True)
    return (_Sink.received - before) / 100


def processes(rounds: int) -> dict[str, dict[str, float]]:
    """Start-up (CPU until all is installed, ms) and memory (resident after 2,000 calls, MB), each over none."""
    from model import SHORT

    names = sides(ON, "sent")
    starts: dict[str, list[float]] = {name: [] for name in names}
    for _ in range(rounds):
        for name in names:
            with worker(name, ON) as one:
                starts[name].append(one.start_us / 1000)
    resident: dict[str, float] = {}
    with sink() as endpoint:
        for name in names:
            with worker(name, ON, endpoint) as one:
                for _ in range(20):
                    one.ask(run=SHORT, times=100, flush=True)
                resident[name] = one.ask(rss=True)["rss"] / 1e6
    start = {name: statistics.median(spent) for name, spent in starts.items()}
    return {name: {"start_ms": start[name] - start["none"], "rss_mb": resident[name] - resident["none"]}
            for name in names}


def everything(rounds: int, starts: int) -> dict[str, Any]:
    """What the file holds."""
    from benchmarks.overhead.count import counted
    from benchmarks.run import _machine
    from sides import SIDES

    modes = []
    for content in (OFF, ON):
        for export in ("dropped", "sent"):
            print(f"content {content}, spans {export} ...", file=sys.stderr)
            modes.append(vars(measure(content, export, rounds)))
    print("processes, instructions ...", file=sys.stderr)
    versions = {name: side.version for name, side in SIDES.items() if side.version}
    return {"machine": _machine(), "rounds": rounds, "versions": versions, "modes": modes,
            "processes": processes(starts), "instructions": counted()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few rounds, print only")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--page", action="store_true", help="write the page from the file")
    parser.add_argument("--check", action="store_true", help="compare the page with the file")
    args = parser.parse_args()
    from benchmarks.overhead import page

    if not (args.page or args.check):
        found = everything(QUICK_ROUNDS, 1) if args.quick else everything(args.rounds, STARTS)
        if args.quick:
            print(page.text(found))
            return 0
        RESULT.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    text = page.text(json.loads(RESULT.read_text(encoding="utf-8")))
    if args.check:
        same = PAGE.exists() and PAGE.read_text(encoding="utf-8") == text
        print("" if same else f"{PAGE.name} is not what {RESULT.name} says; run --page", end="" if same else "\n")
        return int(not same)
    PAGE.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
