"""Raise the offered rate step by step until something gives way."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

from benchmarks.capacity.load import Content, over_http, send_calls, send_votes, tokens
from benchmarks.capacity.measure import SETTLE_S
from benchmarks.capacity.meters import Meters, until

from backspan.cli._stack.run import Stack

CALL_RATES = (100, 200, 300, 450, 700, 1000, 1500, 2300, 3500)
VOTE_RATES = (50, 100, 200, 300, 450, 700, 1000, 1500)
STEP_S = 12.0
VOTE_STEP_S = 5.0
P99_S = 0.050
BATCH_BYTES = 3_000_000
"""The Collector's largest batch: a queue may hold one without growing."""
SHARE = 0.15
"""Of what is offered: a queue that keeps more than this grows."""
KEPT_UP = 0.95


def calls(stack: Stack, content: Content) -> list[dict[str, Any]]:
    """Steps up to the first that breaks twice. ``broke`` names what did, none for a step that held."""
    steps: list[dict[str, Any]] = []
    meters = Meters(stack)
    for rate in CALL_RATES:
        step = _calls_step(meters, content, rate)
        _drain(meters)
        if step["broke"]:
            step = _calls_step(meters, content, rate)
            _drain(meters)
        steps.append(step)
        if step["broke"]:
            break
    return steps


def _drain(meters: Meters) -> None:
    until(lambda: all(meters.queue(name) == 0 for name in ("tempo", "gateway")), "empty queues", SETTLE_S)


def _calls_step(meters: Meters, content: Content, rate: int) -> dict[str, Any]:
    half: dict[str, float] = {}
    refused, discarded, cpu, own = meters.refused(), meters.discarded(), meters.cpu(), time.process_time()

    def look() -> None:
        half.update({name: meters.queue(name) for name in ("tempo", "gateway")})

    collector = partial(over_http, meters.ports.otlp_http)
    sent = send_calls(collector, content, seconds=STEP_S, per_second=rate, at_half=look)
    used = {name: (now - cpu[name]) / sent.seconds for name, now in meters.cpu().items()}
    used["sender"] = (time.process_time() - own) / sent.seconds
    growth = {name: meters.queue(name) - before for name, before in half.items()}
    step = {
        "offered": rate, "accepted": round(sent.rate), "refused": meters.refused() - refused + sent.refused,
        "discarded": meters.discarded() - discarded, "growth": growth, "growth_s": STEP_S / 2,
        "cores": used,
    }
    return {**step, "broke": breaks(step, sent.size)}


def breaks(step: dict[str, Any], size: float) -> list[str]:
    """What gave way at a step that sent ``size`` bytes: ``refused``, ``discarded``, ``slow``, or ``queue for ...``."""
    out = [name for name in ("refused", "discarded") if step[name]]
    most = max(BATCH_BYTES, SHARE * size / 2)
    out += [f"queue for {name}" for name, bytes_ in step["growth"].items() if bytes_ > most]
    if not out and step["accepted"] < KEPT_UP * step["offered"]:
        out.append("slow")
    return out


def votes(stack: Stack, content: Content) -> list[dict[str, Any]]:
    """Steps up to the first at which the gateway takes less than is offered; ``p99`` in ``broke``: over 50 ms."""
    steps: list[dict[str, Any]] = []
    meters, used = Meters(stack), 0
    for rate in VOTE_RATES:
        count = round(rate * VOTE_STEP_S)
        ids, used = content.ids[used:used + count], used + count
        if len(ids) < count:
            break
        voted = send_votes(meters.ports.gateway, tokens(ids), rate)
        step = {"offered": rate, "accepted": round(voted.accepted / voted.seconds),
                "p50_ms": round(1e3 * voted.quantile(0.5), 1), "p99_ms": round(1e3 * voted.quantile(0.99), 1)}
        slow = voted.accepted < count or step["accepted"] < KEPT_UP * rate
        steps.append({**step, "broke": ["p99"] * (voted.quantile(0.99) > P99_S) + ["slow"] * slow})
        if slow:
            break
    return steps
