"""The shipped Collector takes what an SDK sends by default, all three signals, so nobody complains on stderr."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.stack.collectors import Collector, running
from tests.stack.conftest import House
from tests.support.openai_server import OpenAIServer
from tests.support.processes import environment, python, run

pytestmark = pytest.mark.stack
HERE = Path(__file__).parent
PROTOCOLS = {"grpc": "grpc", "http": "http/protobuf"}


def stderr(model: OpenAIServer, folder: Path, door: str, endpoint: str, patience_s: int = 3) -> str:
    """What the application says while it sends everything to ``endpoint``; what is not taken is soon given up."""
    env = environment(
        BACKSPAN="1", BACKSPAN_DATA_DIR=str(folder / "data"), OPENAI_BASE_URL=model.base_url,
        OTEL_TRACES_EXPORTER="otlp", OTEL_METRICS_EXPORTER="otlp", OTEL_LOGS_EXPORTER="otlp",
        OTEL_EXPORTER_OTLP_PROTOCOL=PROTOCOLS[door], OTEL_EXPORTER_OTLP_ENDPOINT=endpoint,
        OTEL_EXPORTER_OTLP_TIMEOUT=str(patience_s))
    done = run(python(HERE / "quiet_app.py", door), env)
    assert done.returncode == 0, done.stderr
    return done.stderr


def endpoint(collector: Collector, door: str) -> str:
    """Of one of the two doors."""
    return f"http://127.0.0.1:{collector.ports[f'otlp_{door}']}"


@pytest.mark.parametrize("door", PROTOCOLS)
def test_nothing_is_said(house: House, model: OpenAIServer, tmp_path: Path, door: str) -> None:
    port = {"grpc": house.backend.ports.otlp_grpc, "http": house.backend.ports.otlp_http}[door]
    assert stderr(model, tmp_path, door, f"http://127.0.0.1:{port}", patience_s=30) == ""


@pytest.mark.parametrize("door", PROTOCOLS)
def test_a_stopped_collector_is_spoken_of(model: OpenAIServer, tmp_path: Path, door: str) -> None:
    with running(tmp_path) as collector:
        stopped = endpoint(collector, door)
    assert "127.0.0.1" in stderr(model, tmp_path, door, stopped)


WITHOUT_LOGS = """
receivers: {otlp/unused: {protocols: {http: {endpoint: "127.0.0.1:0"}}}}
service: {pipelines: {logs: {receivers: [otlp/unused]}}}
"""


@pytest.mark.parametrize("door", PROTOCOLS)
def test_a_collector_without_a_pipeline_for_logs_is_spoken_of(model: OpenAIServer, tmp_path: Path, door: str) -> None:
    with running(tmp_path, WITHOUT_LOGS) as collector:
        assert "logs" in stderr(model, tmp_path, door, endpoint(collector, door)).lower()
