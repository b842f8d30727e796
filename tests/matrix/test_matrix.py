"""Each supported version of the client: the spans are the same, and the application sees what it sees without us."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import pytest
from tests.matrix.environments import NEWEST, ROWS, Row, build, interpreter
from tests.support.openai_server import OpenAIServer
from tests.support.otlp_sink import OtlpSink, Span
from tests.support.processes import environment, run

pytestmark = pytest.mark.matrix
HERE = Path(__file__).parent
ROOT = HERE.parents[1]
ELSEWHERE = {"server.port", "gen_ai.response.time_to_first_chunk", "backspan.stream.time_to_first_content"}
"""Attributes that are different in every run."""
THEIRS = {"error.type", "gen_ai.request.encoding_formats"}
"""Attributes that say what a version of the client did: which exception it raised, which encoding it asked for."""
FIRST_WITH_RESPONSES = (1, 66)


@dataclass(frozen=True)
class Outcome:
    """What one run of the application showed: to its user, to the model, and to the Collector."""

    stdout: str
    stderr: str
    code: int
    requests: list[tuple]
    spans: list[Span]


@cache
def _wheel() -> Path:
    out = mkdtemp(prefix="backspan-dist-")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return next(Path(out).glob("*.whl"))


@cache
def _data_dir() -> str:
    """One folder for all, as its key goes into the hashes of prompts."""
    return mkdtemp(prefix="backspan-data-")


@cache
def outcome(row: Row, on: bool) -> Outcome:
    """Run the application in the row's environment, with the variable or without."""
    python = interpreter(row.python)
    if python is None:
        pytest.skip(f"no Python {row.python} on this machine")
    program = build(row, python, _wheel())
    with OpenAIServer() as model, OtlpSink() as sink:
        env = environment(
            OPENAI_BASE_URL=model.base_url,
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint,
            OTEL_METRICS_EXPORTER="none",
            BACKSPAN="content" if on else None,
            BACKSPAN_DATA_DIR=_data_dir(),
        )
        done = run([program, "-W", "always", "matrix_app.py"], env, cwd=HERE)
    sent = [_sent(request) for request in model.requests]
    return Outcome(done.stdout, done.stderr, done.returncode, sent, sink.spans)


def _sent(request) -> tuple:
    headers = [(name, value) for name, value in request.headers if name != "host"]
    return (request.method, request.path, headers, request.body)


def _seen(span: Span) -> str:
    attributes = {key: value for key, value in span.attributes.items() if key not in ELSEWHERE | THEIRS}
    return repr((span.name, span.kind, span.status, sorted(attributes.items()), span.events))


def _is_response(span: Span) -> bool:
    return span.attributes.get("openai.api.type") == "responses"


def _has_responses(row: Row) -> bool:
    pinned = row.requirements[0].partition("==")[2]
    return not pinned or tuple(map(int, pinned.split(".")[:2])) >= FIRST_WITH_RESPONSES


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_application_sees_what_it_sees_without_us(row):
    ours, bare = outcome(row, True), outcome(row, False)
    assert bare.code == 0, bare.stderr
    assert (ours.stdout, ours.stderr, ours.code) == (bare.stdout, bare.stderr, bare.code)
    assert ours.requests == bare.requests
    assert bare.spans == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_spans_are_those_of_the_newest_version(row):
    found = Counter(_seen(span) for span in outcome(row, True).spans)
    newest = [span for span in outcome(NEWEST, True).spans if _has_responses(row) or not _is_response(span)]
    assert len(newest) > 20
    assert found == Counter(_seen(span) for span in newest)
