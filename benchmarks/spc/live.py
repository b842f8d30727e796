"""A real Prometheus on loopback, and an application with many prompt versions for it to scrape."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np

CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "backspan" / "stack" / "bin"


class Exporter:
    """Counters that grow by Poisson steps, as a scrape target.

    ``labels`` are written as they are, name included; ``pace`` is the mean growth per second of each.
    """

    def __init__(self, labels: Sequence[str], pace: np.ndarray, seed: int) -> None:
        self.labels, self.pace = labels, pace
        self.counts = np.zeros(len(labels))
        self._random, self._at, self._lock = np.random.default_rng(seed), time.time(), threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.address = f"127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def text(self) -> bytes:
        """The exposition after growing up to now."""
        with self._lock:
            now = time.time()
            self.counts += self._random.poisson(self.pace * (now - self._at))
            self._at = now
            return "".join(f"{name} {int(n)}\n" for name, n in zip(self.labels, self.counts, strict=True)).encode()

    def close(self) -> None:
        """Stop answering."""
        self._server.shutdown()
        self._server.server_close()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = exporter.text()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


class Prometheus:
    """A running Prometheus: its URL, process and configuration file."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, config: Path) -> None:
        self.process, self.url, self.config = process, url, config

    def get(self, path: str, **arguments: str) -> Any:
        """``data`` of an answer of the HTTP API."""
        query = f"?{urllib.parse.urlencode(arguments)}" if arguments else ""
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}{query}", timeout=120) as answer:
            return json.load(answer)["data"]

    def metrics(self) -> dict[str, float]:
        """What Prometheus says of itself; series with labels under their whole text."""
        with urllib.request.urlopen(f"{self.url}/metrics", timeout=60) as answer:
            lines = answer.read().decode().splitlines()
        pairs = (line.rsplit(" ", 1) for line in lines if line and not line.startswith("#"))
        return {name: float(value) for name, value in pairs}

    def configure(self, text: str) -> None:
        """Replace the configuration while running."""
        self.config.write_text(text, encoding="utf-8")
        with urllib.request.urlopen(urllib.request.Request(f"{self.url}/-/reload", method="POST"), timeout=120):
            pass


@contextmanager
def prometheus(program: Path, folder: Path, *flags: str) -> Generator[Prometheus]:
    """Run ``program`` with an empty configuration and its data in ``folder``, for the block.

    Raises RuntimeError, with the end of its log, if it is not ready within a minute.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config, log = folder / "prometheus.yml", folder / "log"
    config.write_text("{}\n", encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [program, f"--config.file={config}", f"--storage.tsdb.path={folder / 'data'}", *flags]
    command += [f"--web.listen-address={address}", "--web.enable-lifecycle", "--web.enable-remote-write-receiver"]
    with log.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        _wait(f"http://{address}/-/ready", process, log)
        yield Prometheus(process, f"http://{address}", config)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _wait(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        if _answers(url):
            return
        time.sleep(0.1)
    raise RuntimeError(f"Prometheus is not ready:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except (urllib.error.URLError, OSError):
        return False
