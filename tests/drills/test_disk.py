"""A full disk under the Collector's queue: senders are told, a person is told, and what was accepted arrives."""

from __future__ import annotations

import time
import urllib.error

import pytest
from tests.drills.conftest import end
from tests.drills.found import SETTLE_S, missing_traces
from tests.drills.load import Call, post, traces
from tests.stack.backend import NotFound, until
from tests.stack.conftest import House
from tests.support.disks import small

pytestmark = pytest.mark.drill
SIZE_MB = 8
MOST = 400
"""Requests of 100 kB: more than fit."""


def fill(house: House, service: str) -> tuple[list[Call], int]:
    """Long prompts until something is refused three times: those that were accepted, and how many were refused."""
    accepted: list[Call] = []
    refused = 0
    for number in range(MOST):
        call = Call(f"{number + 1:016x}{len(service):016x}", f"{number + 1:016x}", time.time())
        try:
            post(f"http://127.0.0.1:{house.backend.ports.otlp_http}/v1/traces",
                 traces(service, [(call.trace_id, call.span_id)], 100_000), 60)
        except urllib.error.HTTPError as error:
            error.close()
            assert error.code in (429, 500, 503), error
            refused += 1
            if refused == 3:
                break
        else:
            accepted.append(call)
    return accepted, refused


def test_nobody_is_paged_while_there_is_room(house: House) -> None:
    """The twin. It comes first: after the other one Alertmanager may tell again what still fires."""
    before = len(house.pager.about("BackspanTelemetryQueueFull"))
    with house.without("tempo"):
        accepted, refused = fill(house, "roomy")
        assert refused == 0 and len(accepted) == MOST
        with pytest.raises(NotFound):
            until(lambda: house.pager.about("BackspanTelemetryQueueFull")[before:] or None, "page", 10)
    until(lambda: not missing_traces(house.backend, accepted) or None, "accepted traces", SETTLE_S)


def test_a_full_disk_is_said_and_what_was_accepted_arrives(house: House) -> None:
    queue = house.stack.plan.data / "otelcol"
    end(house, "collector", 0)
    with house.without("collector"), small(queue, SIZE_MB):
        house.stack.start("collector")
        with house.without("tempo"):
            accepted, refused = fill(house, "full")
            assert refused == 3 and len(accepted) > 10
            paged = 'ALERTS{alertname="BackspanTelemetryQueueFull",alertstate="firing",exporter="otlp_grpc/tempo"}'
            until(lambda: house.backend.query(paged) or None, paged, 120)
            until(lambda: house.pager.about("BackspanTelemetryQueueFull") or None, "page", 120)
        until(lambda: not missing_traces(house.backend, accepted) or None, "accepted traces", SETTLE_S)
        house.stack.stop("collector")
