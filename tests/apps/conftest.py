"""A model server and an OTLP receiver for each test, and the environment that points an application at them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.support.openai_server import OpenAIServer
from tests.support.otlp_sink import OtlpSink
from tests.support.processes import environment


@pytest.fixture
def model() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def sink() -> Iterator[OtlpSink]:
    with OtlpSink() as receiver:
        yield receiver


@pytest.fixture
def env(model: OpenAIServer, sink: OtlpSink, tmp_path) -> Callable[..., dict[str, str]]:
    """Call it for an environment in which the variable is on; keywords override, None takes away."""

    def make(**more: str | None) -> dict[str, str]:
        given = {
            "BACKSPAN": "1",
            "OPENAI_BASE_URL": model.base_url,
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
            "OTEL_SERVICE_NAME": "shop",
            "BACKSPAN_DATA_DIR": str(tmp_path / "data"),
        }
        return environment(**{**given, **more})

    return make
