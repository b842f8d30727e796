"""What each program of a stack has used so far: processor, memory, disk, series, queues."""

from __future__ import annotations

import json
import os
import sqlite3
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from backspan.cli._stack.run import Stack

_LOCAL = urllib.request.build_opener(urllib.request.ProxyHandler({}))
_STAT = Path("/proc/stat")
_TICKS = os.sysconf("SC_CLK_TCK")
PROGRAMS = ("collector", "tempo", "prometheus", "gateway", "alertmanager")
EXPORTERS = {"tempo": "otlp_grpc/tempo", "gateway": "otlp_http/gateway"}


def ask(port: int, path: str, method: str = "GET", **query: str) -> bytes:
    """Body of the answer. Raises OSError."""
    parameters = f"?{urllib.parse.urlencode(query)}" if query else ""
    request = urllib.request.Request(f"http://127.0.0.1:{port}{path}{parameters}", method=method)
    with _LOCAL.open(request, timeout=30) as response:
        return response.read()


def metric(port: int, name: str, **labels: str) -> float:
    """Sum over the samples of a program's own metrics that have these labels; 0 if it has none."""
    families = text_string_to_metric_families(ask(port, "/metrics").decode())
    return sum(sample.value for family in families for sample in family.samples
               if sample.name in (name, f"{name}_total") and labels.items() <= sample.labels.items())


def size(path: Path) -> int:
    """Bytes that a file, or all files of a folder, take on disk."""
    found = [path, *path.rglob("*")] if path.exists() else []
    return sum(_blocks(one) for one in found)


def _blocks(path: Path) -> int:
    try:
        return path.stat().st_blocks * 512
    except FileNotFoundError:  # deleted while we looked
        return 0


class Meters:
    """Readings of one running stack."""

    def __init__(self, stack: Stack) -> None:
        self._stack, self.ports, self._data = stack, stack.plan.ports, stack.plan.data

    def cpu(self) -> dict[str, float]:
        """Seconds of processor of each program that runs."""
        return {name: _cpu(self._pid(name)) for name in PROGRAMS if name in self._stack.alive}

    def peak(self) -> dict[str, int]:
        """Most bytes of memory that each program has held."""
        return {name: _peak(self._pid(name)) for name in PROGRAMS if name in self._stack.alive}

    def _pid(self, name: str) -> int:
        return self._stack.running[name].pid

    def disk(self) -> dict[str, int]:
        """Bytes by what they are for."""
        data = self._data
        return {
            "tempo blocks": blocks(data / "tempo" / "blocks"), "tempo wal": size(data / "tempo" / "wal"),
            "prometheus": size(data / "prometheus"), "collector queue": size(data / "otelcol"),
            "gateway": sum(size(data / f"gateway.db{end}") for end in ("", "-wal")),
        }

    def queue(self, target: str) -> float:
        """Bytes that wait in the Collector for ``tempo`` or ``gateway``."""
        return metric(self.ports.collector_metrics, "otelcol_exporter_queue_size", exporter=EXPORTERS[target])

    def refused(self) -> float:
        """Spans that the Collector refused, or could not queue."""
        names = ("otelcol_receiver_refused_spans", "otelcol_exporter_enqueue_failed_spans")
        return sum(metric(self.ports.collector_metrics, name) for name in names)

    def in_tempo(self) -> float:
        """Spans that Tempo has received."""
        return metric(self.ports.tempo, "tempo_distributor_spans_received")

    def discarded(self) -> float:
        """Spans that Tempo has refused."""
        return metric(self.ports.tempo, "tempo_discarded_spans")

    def rows(self, query: str) -> float:
        """One number from the gateway's store, read beside it."""
        with sqlite3.connect(f"file:{self._data / 'gateway.db'}?mode=ro", uri=True, timeout=30) as store:
            return store.execute(query).fetchone()[0]

    def turns(self) -> float:
        """Calls that the gateway keeps."""
        return self.rows("SELECT count(*) FROM calls")

    def store(self) -> int:
        """Bytes of the gateway's store in use, without its journal."""
        return int(self.rows("SELECT (SELECT * FROM pragma_page_count) * (SELECT * FROM pragma_page_size)"))

    def series(self, selector: str = '{__name__=~".+"}') -> list[dict[str, str]]:
        """Labels of the series that Prometheus holds."""
        body = ask(self.ports.prometheus, "/api/v1/series", **{"match[]": selector, "start": str(time.time() - 600)})
        return json.loads(body)["data"]

    def prometheus(self, name: str, **labels: str) -> float:
        """Of Prometheus's own metrics."""
        return metric(self.ports.prometheus, name, **labels)

    def flush(self, *, filled: bool = True) -> None:
        """Make Tempo write what it holds into blocks, and wait for it: ``filled`` says that it does hold something.

        Raises:
            TimeoutError: if no block was written within two minutes.
        """
        before = self._flushed()
        ask(self.ports.tempo, "/flush", "POST")
        if filled:
            until(lambda: self._flushed() > before, "a block of Tempo", 120)
        sizes = [-1, self.disk()["tempo blocks"]]
        while sizes[-1] != sizes[-2]:
            time.sleep(5)
            sizes.append(self.disk()["tempo blocks"])

    def _flushed(self) -> float:
        return metric(self.ports.tempo, "tempo_ingester_blocks_flushed")


def blocks(folder: Path) -> int:
    """Bytes of Tempo's blocks; those that were merged into others stay for an hour and do not count."""
    return sum(size(meta.parent) for meta in folder.glob("*/*/meta.json"))


def busy() -> float:
    """Seconds of processor that the whole machine has used."""
    user, nice, system, _, _, irq, softirq, steal, *_ = _STAT.read_text(encoding="ascii").split("\n")[0].split()[1:]
    return sum(map(int, (user, nice, system, irq, softirq, steal))) / _TICKS


def until(done: Callable[[], bool], what: str, seconds: float) -> float:
    """Wait; how long it took. Raises TimeoutError."""
    began = time.monotonic()
    while not _holds(done):
        if time.monotonic() - began > seconds:
            raise TimeoutError(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.5)
    return time.monotonic() - began


def _holds(done: Callable[[], bool]) -> bool:
    try:
        return done()
    except (OSError, urllib.error.URLError):  # a program that just starts
        return False


def _cpu(pid: int) -> float:
    fields: Any = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _peak(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))
