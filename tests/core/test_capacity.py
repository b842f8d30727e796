"""The capacity page: it says what was measured, names alerts that exist, and a step breaks for the reason it gives."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from benchmarks.capacity import page, run
from benchmarks.capacity.load import ANSWER, BATCH, PROMPT, Content
from benchmarks.capacity.ramps import BATCH_BYTES, breaks
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from backspan import semconv

FOUND: dict[str, Any] = json.loads(run.RESULT.read_text(encoding="utf-8"))
ALERTS = {
    rule["alert"]
    for group in yaml.safe_load((run.ROOT / "collector/rules/pipeline.yml").read_text(encoding="utf-8"))["groups"]
    for rule in group["rules"]
}
HELD = {"offered": 100, "accepted": 100, "refused": 0, "discarded": 0, "growth": {"tempo": 0, "gateway": 0},
        "growth_s": 6.0, "cores": {"collector": 0.5, "sender": 0.25}, "broke": []}


def ending(**changes: Any) -> dict[str, Any]:
    """What was measured, with a ramp of calls whose second and last step is as given."""
    return {**copy.deepcopy(FOUND), "ramp_calls": [HELD, {**HELD, "offered": 200, **changes}]}


def unknown_alerts(text: str) -> set[str]:
    return set(re.findall(r"`(Backspan\w+)`", text)) - ALERTS


def test_the_page_is_what_was_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert run.check() == 0
    other = copy.deepcopy(FOUND)
    other["calls"]["cpu_s"]["collector"] += 1
    (tmp_path / "capacity.json").write_text(json.dumps(other), encoding="utf-8")
    monkeypatch.setattr(run, "RESULT", tmp_path / "capacity.json")
    assert run.check() == 1
    monkeypatch.setattr(run, "PAGE", tmp_path / "none.md")
    assert run.check() == 1


def test_every_figure_of_cost_is_on_the_page() -> None:
    text = page.render(FOUND)
    for load in ("calls", "votes"):
        for name in page.WORKERS:
            other = copy.deepcopy(FOUND)
            other[load]["cpu_s"][name] = 123_456.0
            assert "123,456 s" in page.render(other) and "123,456 s" not in text


@pytest.mark.parametrize(("broke", "growth", "said"), [
    (["refused"], 0, "`BackspanTelemetryRefused`"),
    (["discarded"], 0, "`BackspanTelemetryDropped`"),
    (["slow"], 0, "No alert says so"),
    (["queue for gateway"], 60_000_000, "half full after 1 min"),
])
def test_what_gives_way_and_what_a_user_sees(broke: list[str], growth: float, said: str) -> None:
    text = page.render(ending(broke=broke, growth={"tempo": 0, "gateway": growth}))
    verdict = next(part for part in text.split("\n\n") if part.startswith("**Calls**")).replace("\n", " ")
    assert "all kept up at 100 a second. At 200 offered" in verdict and said in verdict
    assert verdict.endswith("Cores used in that step: Collector 0.50, sender 0.25, together 0.75.")
    nothing = page.render(ending())
    assert "**Calls**: nothing gave way up to 200 a second" in nothing


def test_alerts_on_the_page_exist() -> None:
    for broke in ("refused", "discarded", "slow", "queue for tempo"):
        text = page.render(ending(broke=[broke], growth={"tempo": 10**8, "gateway": 0}))
        assert not unknown_alerts(text)
    assert unknown_alerts("`BackspanNeverHeardOf`") == {"BackspanNeverHeardOf"}


@pytest.mark.parametrize(("change", "expected"), [
    ({}, []),
    ({"refused": 1}, ["refused"]),
    ({"discarded": 50}, ["discarded"]),
    ({"accepted": 94}, ["slow"]),
    ({"accepted": 96}, []),
    ({"growth": {"tempo": BATCH_BYTES + 1, "gateway": 0}}, ["queue for tempo"]),
    ({"growth": {"tempo": BATCH_BYTES, "gateway": 0}}, []),
    ({"accepted": 10, "growth": {"tempo": 0, "gateway": 10**9}}, ["queue for gateway"]),
])
def test_a_step_breaks_for_a_reason(change: dict[str, Any], expected: list[str]) -> None:
    assert breaks({**HELD, **change}, size=1e6) == expected


def test_a_queue_may_keep_a_share_of_much() -> None:
    step = {**HELD, "growth": {"tempo": 2 * BATCH_BYTES, "gateway": 0}}
    assert breaks(step, size=100e6) == [] and breaks(step, size=10e6) == ["queue for tempo"]


def test_limits_on_the_page_are_the_configured_ones() -> None:
    queue = yaml.safe_load((run.ROOT / "collector/collector.yaml").read_text(encoding="utf-8"))["exporters"]
    tempo = yaml.safe_load((run.ROOT / "collector/tempo.yaml").read_text(encoding="utf-8"))["overrides"]["defaults"]
    sizes = {queue[name]["sending_queue"]["queue_size"] for name in ("otlp_grpc/tempo", "otlp_http/gateway")}
    services = yaml.safe_load((run.ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    limits = {name.removeprefix("otel-"): service["mem_limit"] for name, service in services.items()}
    mib = {name: int(limits[name][:-1]) * {"m": 1, "g": 1024}[limits[name][-1]] for name in page.COMPOSE_LIMITS}
    assert mib == page.COMPOSE_LIMITS
    assert list(page.COMPOSE_LIMITS) == list(page.PARTS)
    assert sizes == {page.QUEUE_BYTES} and tempo["ingestion"]["rate_limit_bytes"] == page.TEMPO_LIMIT


def test_a_part_that_outgrew_its_limit_is_named() -> None:
    small, large = ({**FOUND, "peak": dict.fromkeys(page.PARTS, 2**20) | {"tempo": tempo}} for tempo in (2**30, 2**32))
    assert "too little for Tempo," in page.render(large).replace("\n", " ") and "too little" not in page.render(small)


def test_rates_are_held_up_to_the_first_that_broke() -> None:
    steps = [HELD, {**HELD, "offered": 200}, {**HELD, "offered": 300, "broke": ["slow"]}, {**HELD, "offered": 400}]
    assert [page.held(steps), page.held(steps[:2]), page.held(steps[2:])] == [200, 200, 0]


def test_calls_are_as_the_page_describes_them() -> None:
    content = Content(1)
    spans = ExportTraceServiceRequest.FromString(content.request()).resource_spans[0].scope_spans[0].spans
    assert len({span.trace_id for span in spans}) == len(content.ids) == BATCH
    attributes = {one.key: one.value.string_value for one in spans[0].attributes}
    sizes = {PROMPT: semconv.INPUT_MESSAGES, ANSWER: semconv.OUTPUT_MESSAGES}
    for size, key in sizes.items():
        assert len(json.loads(attributes[key])[0]["parts"][0]["content"]) == size
