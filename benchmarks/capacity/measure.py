"""What calls, votes, prompt versions and outages cost a running stack, part by part."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.capacity.load import VERSIONS as OTHERS
from benchmarks.capacity.load import Content, Send, over_grpc, over_http, send_calls, send_votes, tokens
from benchmarks.capacity.meters import EXPORTERS, PROGRAMS, Meters, busy, until

from backspan.cli._stack.run import Stack

IDLE_S = 20
SETTLE_S = 120.0
VERSIONS = 20
"""Of the prompt whose series are counted."""
_HERE = Path(__file__).resolve().parent


class Idle:
    """Seconds of processor a second that each program uses while nobody calls: subtracted from what a load used."""

    def __init__(self, meters: Meters, seconds: float = IDLE_S) -> None:
        self._meters, before, all_before = meters, meters.cpu(), busy()
        time.sleep(seconds)
        self.rates = {name: (used - before[name]) / seconds for name, used in meters.cpu().items()}
        self.others = max(0.0, (busy() - all_before) / seconds - sum(self.rates.values()))
        """Cores that the rest of the machine used meanwhile."""

    @contextmanager
    def used(self) -> Generator[dict[str, float]]:
        """Filled when the block ends: seconds by program, above idle."""
        out: dict[str, float] = {}
        before, began = self._meters.cpu(), time.monotonic()
        yield out
        elapsed = time.monotonic() - began
        for name, now in self._meters.cpu().items():
            out[name] = max(0.0, now - before[name] - elapsed * self.rates[name])


def grown(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    """By how much each figure rose."""
    return {name: after[name] - before[name] for name in after}


def per_million(found: dict[str, float], count: int) -> dict[str, float]:
    """Figures of ``count`` things, scaled."""
    return {name: value * 1e6 / count for name, value in found.items()}


def calls(stack: Stack, idle: Idle, content: Content, count: int) -> dict[str, Any]:
    """Cost of calls, sent as fast as the Collector takes them, until Tempo and the gateway have them."""
    meters = Meters(stack)
    meters.flush(filled=False)
    disk, turns, spans, store = meters.disk(), meters.turns(), meters.in_tempo(), meters.store()
    began = time.monotonic()
    with idle.used() as cpu:
        sent = send_calls(partial(over_http, meters.ports.otlp_http), content, calls=count)
        until(lambda: meters.in_tempo() - spans >= sent.calls, "spans in Tempo", SETTLE_S)
        until(lambda: meters.turns() - turns >= sent.calls, "turns in the gateway", SETTLE_S)
        elapsed = time.monotonic() - began
        meters.flush()
    kept = grown(disk, meters.disk())
    return {
        "count": sent.calls, "refused": sent.refused, "bytes_sent": sent.size * 1e6 / sent.calls,
        "sent_per_second": round(sent.rate), "arrived_per_second": round(sent.calls / elapsed),
        "cpu_s": per_million(cpu, sent.calls),
        "bytes": per_million({"tempo": kept["tempo blocks"], "gateway": meters.store() - store}, sent.calls),
    }


def votes(stack: Stack, idle: Idle, content: Content, count: int) -> dict[str, Any]:
    """Cost of first votes by token on calls of before, until Tempo has the span of each."""
    meters = Meters(stack)
    work = tokens(content.ids[:count])
    meters.flush(filled=False)
    disk, spans, store = meters.disk(), meters.in_tempo(), meters.store()
    with idle.used() as cpu:
        voted = send_votes(meters.ports.gateway, work)
        waited = until(lambda: meters.in_tempo() - spans >= voted.accepted, "spans of votes in Tempo", SETTLE_S)
        meters.flush()
    kept = grown(disk, meters.disk())
    return {
        "count": voted.accepted, "per_second": round(voted.accepted / voted.seconds),
        "p99_ms": round(1e3 * voted.quantile(0.99), 1), "emitted_per_second": round(
            voted.accepted / (voted.seconds + waited)),
        "cpu_s": per_million(cpu, voted.accepted),
        "bytes": per_million({"tempo": kept["tempo blocks"], "gateway": meters.store() - store}, voted.accepted),
    }


def versions(stack: Stack) -> dict[str, Any]:
    """Series that one more prompt version makes, by who makes them, after answers and votes of both polarities."""
    from tests.support.openai_server import OpenAIServer
    from tests.support.processes import environment

    meters = Meters(stack)
    selector = '{gen_ai_prompt_version=~"c[0-9]+"}'
    with OpenAIServer() as model:
        env = environment(BACKSPAN="1", OPENAI_BASE_URL=model.base_url, OTEL_SERVICE_NAME="cohorts",
                          OTEL_EXPORTER_OTLP_ENDPOINT=f"http://127.0.0.1:{meters.ports.otlp_http}",
                          BACKSPAN_DATA_DIR=os.environ["BACKSPAN_DATA_DIR"])
        done = subprocess.run([sys.executable, str(_HERE / "cohorts.py"), str(VERSIONS)], env=env, check=True,
                              capture_output=True, text=True, timeout=120)
    voted = _both_polarities(meters.ports.gateway, json.loads(done.stdout))
    assert voted == 2 * VERSIONS, f"{voted} votes were accepted"
    time.sleep(70)  # spans are counted every 15 s, a new counter is 0 for two scrapes, rules follow
    found: dict[str, float] = {}
    for labels in meters.series(selector):
        who = maker(labels)
        found[who] = found.get(who, 0) + 1 / VERSIONS
    return {"versions": VERSIONS, "others": OTHERS, "series": found}


def maker(labels: dict[str, str]) -> str:
    """Who makes a series: application, Collector (of spans), gateway or rules."""
    name = labels["__name__"]
    if name.startswith("traces_span_metrics"):
        return "collector"
    if ":" in name:
        return "rules"
    return "gateway" if labels.get("instance") == "gateway" else "application"


def _both_polarities(port: int, found: list[str]) -> int:
    return send_votes(port, found[0::2]).accepted + send_votes(port, found[1::2]).accepted


def prometheus(stack: Stack, cpu_idle: float) -> dict[str, Any]:
    """What Prometheus holds, and what a sample costs in its write-ahead log."""
    meters = Meters(stack)
    samples = meters.prometheus("prometheus_tsdb_head_samples_appended_total", type="float")
    wal = meters.prometheus("prometheus_tsdb_wal_storage_size_bytes")
    series = meters.prometheus("prometheus_tsdb_head_series")
    return {"series": int(series), "samples": int(samples), "wal_bytes_per_sample": wal / samples, "cpu_idle": cpu_idle}


def waiting_calls(stack: Stack, content: Content, seconds: float) -> dict[str, Any]:
    """Tempo and the gateway are away: how fast the Collector takes calls in, and what each takes in its queues."""
    stack.stop("tempo", "gateway")
    meters = Meters(stack)
    disk, cpu = meters.disk()["collector queue"], meters.cpu()["collector"]
    before = {name: meters.queue(name) for name in EXPORTERS}
    sent = send_calls(partial(over_http, meters.ports.otlp_http), content, seconds=seconds)
    time.sleep(3)
    queued = {name: meters.queue(name) - before[name] for name in before}
    out: dict[str, Any] = {
        "calls": sent.calls, "refused": sent.refused, "per_second": round(sent.rate),
        "cores": (meters.cpu()["collector"] - cpu) / sent.seconds,
        "queue_bytes": {name: value / sent.calls for name, value in queued.items()},
        "disk_bytes": (meters.disk()["collector queue"] - disk) / sent.calls,
    }
    return {**out, "drained_per_second": _drained(stack, sent.calls)}


def _drained(stack: Stack, count: int) -> dict[str, int]:
    """Calls a second that each target takes from its queue when both are back, counted from their start."""
    meters, began = Meters(stack), time.monotonic()
    for name in EXPORTERS:
        stack.launch(stack.program(name))
    taken: dict[str, float] = {}

    def look() -> bool:
        for name in EXPORTERS:
            if name not in taken and meters.queue(name) == 0:
                taken[name] = time.monotonic() - began
        return len(taken) == len(EXPORTERS)

    until(look, "empty queues", 2 * SETTLE_S)
    return {name: round(count / seconds) for name, seconds in taken.items()}


def waiting_votes(stack: Stack, content: Content, count: int) -> dict[str, Any]:
    """The Collector is away: what a vote takes in the gateway's store while its span waits."""
    stack.stop("collector")
    meters = Meters(stack)
    before, work = meters.store(), tokens(content.ids[-count:])
    voted = send_votes(meters.ports.gateway, work)
    out = {"votes": voted.accepted, "store_bytes": (meters.store() - before) / voted.accepted}
    stack.start("collector")
    until(lambda: meters.rows("SELECT count(*) FROM outbox WHERE emitted IS NULL") == 0, "outbox", SETTLE_S)
    return out


def alone(stack: Stack, content: Content, seconds: float) -> dict[str, Any]:
    """Tempo and the gateway without the Collector, each as fast as it takes calls."""
    ports = stack.plan.ports
    return {
        "tempo": _alone(stack, "tempo", partial(over_grpc, ports.tempo_otlp), content, seconds),
        "gateway": _alone(stack, "gateway", partial(over_http, ports.gateway), content, seconds),
    }


def _alone(stack: Stack, name: str, connect: Callable[[], Send], content: Content, seconds: float) -> dict[str, Any]:
    meters = Meters(stack)
    before = meters.cpu()[name]
    sent = send_calls(connect, content, seconds=seconds)
    return {"per_second": round(sent.rate), "refused": sent.refused,
            "cores": (meters.cpu()[name] - before) / sent.seconds, "p99_ms": _p99(sent.latencies)}


def _p99(latencies: list[float]) -> float:
    ordered = sorted(latencies)
    return round(1e3 * ordered[int(0.99 * (len(ordered) - 1))], 1) if ordered else 0.0


def peaks(stack: Stack) -> dict[str, int]:
    """Most memory of each program."""
    return {name: Meters(stack).peak().get(name, 0) for name in PROGRAMS}
