"""Each supported version of the client: the spans are the same, and the application sees what it sees without us."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.matrix.environments import NEWEST, ROWS, Row, build, interpreter
from tests.support.openai_server import OpenAIServer
from tests.support.openai_socket import SocketServer
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


_shared = ExitStack()
"""What is made once for all rows, to be taken away after the last of them."""


@pytest.fixture(scope="module", autouse=True)
def _taken_away() -> Generator[None]:
    with _shared:
        yield


@cache
def _wheel() -> Path:
    out = _shared.enter_context(TemporaryDirectory(prefix="backspan-dist-"))
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, str(ROOT)]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    return next(Path(out).glob("*.whl"))


@cache
def _data_dir() -> str:
    """One folder for all, as its key goes into the hashes of prompts."""
    return _shared.enter_context(TemporaryDirectory(prefix="backspan-data-"))


@cache
def outcome(row: Row, on: bool) -> Outcome:
    """Run the application in the row's environment, with the variable or without."""
    python = interpreter(row.python)
    if python is None:
        pytest.skip(f"no Python {row.python} on this machine")
    program = build(row, python, _wheel())
    with OpenAIServer() as model, SocketServer() as talker, OtlpSink() as sink:
        env = environment(
            OPENAI_BASE_URL=model.base_url,
            MATRIX_SOCKETS=talker.base_url.replace("http", "ws"),
            OTEL_EXPORTER_OTLP_ENDPOINT=sink.endpoint,
            OTEL_METRICS_EXPORTER="none",
            BACKSPAN="content" if on else None,
            BACKSPAN_DATA_DIR=_data_dir(),
        )
        done = run([program, "-W", "always", "matrix_app.py"], env, cwd=HERE)
    sent = [_sent(request) for request in model.requests] + [("socket", said) for said in talker.received]
    return Outcome(done.stdout, done.stderr, done.returncode, sent, sink.spans)


def _sent(request) -> tuple:
    headers = [(name, value) for name, value in request.headers if name != "host"]
    return (request.method, request.path, _without_boundary(headers), _without_boundary(request.body))


def _without_boundary(said):
    """Multipart bodies are parted by something random."""
    boundary = rb"[0-9a-f]{32}"
    if isinstance(said, bytes):
        return re.sub(boundary, b"boundary", said)
    return [(name, re.sub(boundary.decode(), "boundary", value)) for name, value in said]


def _seen(span: Span) -> str:
    attributes = {key: value for key, value in span.attributes.items() if key not in ELSEWHERE | THEIRS}
    said = repr((span.name, span.kind, span.status, sorted(attributes.items()), span.events))
    return re.sub(r"\b([a-z]+[_-])0*[0-9]+\b", r"\1", said)  # ids count the calls, of which old versions make fewer


def _of_any(parts: list[str], span: Span) -> bool:
    """Whether a span is of one of the parts, which are told by the model or the index that they ask for."""
    said = (span.attributes.get("gen_ai.request.model"), span.attributes.get("gen_ai.data_source.id"),
            span.attributes.get("gen_ai.response.id"))
    return any(part in said for part in parts)


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
    absent = re.findall(r"^absent: (\S+)", outcome(row, True).stdout, re.MULTILINE)
    newest = [span for span in outcome(NEWEST, True).spans
              if (_has_responses(row) or not _is_response(span)) and not _of_any(absent, span)]
    assert len(newest) > 20
    assert found == Counter(_seen(span) for span in newest)


# --- the contract, in each version -----------------------------------------------------------------------------------
@cache
def _suites() -> dict[Row, Future[subprocess.CompletedProcess[str]]]:
    """The tests of the contract, begun in all environments, two at a time."""
    _wheel()  # else it might be built twice, and taken away before the last suite that needs it has ended
    pool = ThreadPoolExecutor(2)
    _shared.callback(pool.shutdown, cancel_futures=True)
    return {row: pool.submit(_suite, row) for row in ROWS if interpreter(row.python)}


def _suite(row: Row) -> subprocess.CompletedProcess[str]:
    program = build(row, interpreter(row.python) or "", _wheel())
    env = environment(CONTRACT_ROUNDS="5", CONTRACT_INSTALLED="1")
    command = [program, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", *_chosen(row)]
    return run(command, env, cwd=ROOT, timeout=1200)


def _chosen(row: Row) -> list[str]:
    """The tests for ``row``: all that depend on the client, or, for another Python, on the interpreter."""
    folder = "tests/contract"
    if row.python is not None:
        names = ("stream_ends", "stream_ends_async", "contexts", "memory")
        return [f"{folder}/test_{name}.py" for name in names]
    left_out = ["neighbours", "their_faults", "life", *(["faults"] if row is not ROWS[0] else [])]
    return [folder, "-k", "not sync-1", *(f"--ignore={folder}/test_{name}.py" for name in left_out)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.id)
def test_the_contract_is_kept(row):
    if row not in _suites():
        pytest.skip(f"no Python {row.python} on this machine")
    done = _suites()[row].result()
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    assert row is not NEWEST or "skipped" not in done.stdout
    assert "passed" in done.stdout
