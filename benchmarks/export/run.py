"""Export without loss: spans lost at full speed on one core and in outages of 15 s and 60 s, memory, processor time.

    python benchmarks/export/run.py [--json] [--quick]

The receiver is a process of its own that answers 503 for 15 s, or is not there for 60 s, in the middle of the load.
`--quick` is for trying out: a tenth of all numbers.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import json
import os
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

PRODUCER = Path(__file__).with_name("producer.py")
ROUNDS = 5
MORE: dict[str, str] = {}
"""More environment for the measured process; for tests."""


class Receiver:
    """Counts different spans; `refusing` makes it answer 503, and `away` closes its port for a while."""

    def __init__(self) -> None:
        self.seen: set[bytes] = set()
        self.refusing = False
        self.port = 0
        self._open()

    @property
    def endpoint(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def _open(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()

    @contextlib.contextmanager
    def away(self) -> Iterator[None]:
        self.close()
        self.refusing = True  # connections that are open already
        yield
        self.refusing = False
        self._open()

    @contextlib.contextmanager
    def refuse(self) -> Iterator[None]:
        self.refusing = True
        yield
        self.refusing = False

    def take(self, path: str, body: bytes) -> int:
        if self.refusing:
            return 503
        if path.endswith("/traces"):
            for part in ExportTraceServiceRequest.FromString(body).resource_spans:
                self.seen.update(span.span_id for scope in part.scope_spans for span in scope.spans)
        return 200


def _handler(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_args: object) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            plain = gzip.decompress(body) if self.headers.get("content-encoding") == "gzip" else body
            self.send_response(receiver.take(self.path, plain))
            self.send_header("content-length", "0")
            self.end_headers()

    return Handler


def _start(receiver: Receiver, *arguments: object) -> subprocess.Popen[str]:
    keep = {k: v for k, v in os.environ.items() if not k.startswith(("OTEL_", "BACKSPAN"))}
    env = {**keep, "BACKSPAN": "1", "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint, "NO_PROXY": "*", **MORE}
    return subprocess.Popen([sys.executable, str(PRODUCER), *map(str, arguments)], env=env, text=True,
                            stdout=subprocess.PIPE)


def load(count: int, per_second: float, how: str, seconds: float) -> dict[str, Any]:
    """Make calls with an outage of ``seconds`` in their middle (``how`` is `refuse` or `away`)."""
    receiver = Receiver()
    with _start(receiver, "calls", count, per_second) as process:
        assert process.stdout is not None
        process.stdout.readline()
        if seconds:
            time.sleep(1)
            with getattr(receiver, how)():
                time.sleep(seconds)
        found = json.loads(process.stdout.readline())
    receiver.close()
    return {**found, "missing": found["calls"] - len(receiver.seen)}


def processor_time(count: int) -> dict[str, float]:
    """Processor time per span for export: ours, the SDK's batch processor's, and their ratio, medians of rounds."""
    receiver = Receiver()
    found: dict[str, list[float]] = {"none": [], "sdk": [], "ours": []}
    for _ in range(ROUNDS):
        for what, times in found.items():
            process = _start(receiver, "cpu", what, count)
            times.append(json.loads(process.communicate()[0])["us_per_span"])
    receiver.close()
    pairs = list(zip(found["ours"], found["sdk"], found["none"], strict=True))
    ours, sdk = (statistics.median(pair[at] - pair[2] for pair in pairs) for at in (0, 1))
    return {"ours_us": round(ours, 1), "sdk_us": round(sdk, 1), "ratio": round(ours / sdk, 2)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--quick", action="store_true")
    args = parser.parse_args()
    part = 0.1 if args.quick else 1.0
    found = {
        "full_speed": load(int(20_000 * part), 0, "refuse", 0),
        "refusing_15s": load(int(2_500 * part), 100, "refuse", 15 * part),
        "away_60s": load(int(7_000 * part), 100, "away", 60 * part),
        "cpu": processor_time(int(5_000 * part)),
    }
    print(json.dumps(found, indent=None if args.json else 2))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
