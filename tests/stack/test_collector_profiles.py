"""The profiles that are merged over the shipped file: TLS and tokens, and where logs go."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from collections.abc import Generator
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from tests.stack.backend import NotFound, until
from tests.stack.collectors import PROFILES, Collector, logs, post, request, running, span
from tests.stack.conftest import running as whole
from tests.support.openai_server import OpenAIServer

pytestmark = pytest.mark.stack
TLS = PROFILES / "tls.yaml"
TOKEN = "a-token-of-this-test"


def certificate(folder: Path) -> dict[str, str]:
    """A certificate for loopback, its key and the file of tokens, as the Collector's environment names them."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "collector")])
    now = datetime.now(timezone.utc)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1)).add_extension(
                x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), False)
            .sign(key, hashes.SHA256()))
    pem = serialization.Encoding.PEM
    (folder / "cert.pem").write_bytes(made.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(
        pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    (folder / "tokens").write_text(f"another-token of somebody else\n{TOKEN} of the test\n", encoding="utf-8")
    return {"COLLECTOR_CERT_FILE": str(folder / "cert.pem"), "COLLECTOR_KEY_FILE": str(folder / "key.pem"),
            "COLLECTOR_TOKENS_FILE": str(folder / "tokens")}


@pytest.fixture
def secured(tmp_path: Path) -> Generator[tuple[Collector, str]]:
    """A Collector with the TLS profile, and the URL of its inner port."""
    with running(tmp_path, TLS, **certificate(tmp_path)) as collector:
        yield collector, f"http://127.0.0.1:{collector.ports['inside']}"


def send(url: str, folder: Path, token: str | None) -> int:
    """Status of one OTLP request over TLS, by a client that trusts only the test's certificate."""
    context = ssl.create_default_context(cafile=str(folder / "cert.pem"))
    headers = {"Content-Type": "application/x-protobuf", **({"Authorization": f"Bearer {token}"} if token else {})}
    sent = urllib.request.Request(f"{url}/v1/traces", request([span(1, {})]).SerializeToString(), headers)
    try:
        with urllib.request.urlopen(sent, timeout=60, context=context) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def test_http_takes_tls_with_a_token_only(secured: tuple[Collector, str], tmp_path: Path) -> None:
    collector, _ = secured
    url = collector.url.replace("http://", "https://")
    assert send(url, tmp_path, None) == 401
    assert send(url, tmp_path, "wrong") == 401
    with pytest.raises(urllib.error.HTTPError, match="400") as plain:
        post(collector.url, request([span(2, {})]), Authorization=f"Bearer {TOKEN}")
    plain.value.close()
    assert send(url, tmp_path, TOKEN) == 200
    collector.tempo.wait_spans(1)


def test_grpc_takes_tls_with_a_token(secured: tuple[Collector, str], tmp_path: Path) -> None:
    import grpc

    collector, _ = secured
    credentials = grpc.ssl_channel_credentials((tmp_path / "cert.pem").read_bytes())
    exporter = OTLPSpanExporter(f"https://127.0.0.1:{collector.ports['otlp_grpc']}", credentials=credentials,
                                headers={"authorization": f"Bearer {TOKEN}"}, timeout=60)
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    provider.get_tracer("test").start_span("over tls").end()
    provider.shutdown()
    assert collector.tempo.wait_spans(1)[0].name == "over tls"


def test_the_gateways_port_stays_plain(secured: tuple[Collector, str]) -> None:
    collector, inside = secured
    assert post(inside, request([span(1, {"backspan.feedback.id": "f" * 32})])) == 200
    collector.tempo.wait_spans(1)


def test_a_new_token_is_taken_without_a_restart(secured: tuple[Collector, str], tmp_path: Path) -> None:
    collector, _ = secured
    url = collector.url.replace("http://", "https://")
    (tmp_path / "tokens").write_text("the-new-one\n", encoding="utf-8")
    until(lambda: True if send(url, tmp_path, "the-new-one") == 200 else None, "the new token")
    assert send(url, tmp_path, TOKEN) == 401


def test_anybody_may_send_without_the_profile(tmp_path: Path) -> None:
    with running(tmp_path) as collector:
        assert post(collector.url, request([span(1, {})])) == 200


def test_logs_go_to_a_file(tmp_path: Path) -> None:
    file = tmp_path / "logs" / "logs.jsonl"
    with running(tmp_path, PROFILES / "logs-file.yaml", COLLECTOR_LOGS_FILE=str(file)) as collector:
        post(collector.url, logs(["said by anna@example.com"]))
        until(lambda: file.exists() and file.stat().st_size > 0 or None, "a line of logs")
    said = json.dumps(json.loads(file.read_text(encoding="utf-8").splitlines()[0]))
    assert "said by " in said
    assert "anna@example.com" not in said


def test_logs_go_to_loki(tmp_path: Path) -> None:
    with running(tmp_path, PROFILES / "logs-loki.yaml") as collector:
        post(collector.url, logs(["hello"]))
        until(lambda: collector.others.logs or None, "logs in Loki")
    assert collector.others.logs[0].body == "hello"
    assert "/otlp/v1/logs" in [path for path, _ in collector.others.requests]


def test_logs_go_nowhere_without_a_profile(tmp_path: Path) -> None:
    with running(tmp_path, COLLECTOR_LOGS_FILE=str(tmp_path / "logs.jsonl")) as collector:
        assert post(collector.url, logs(["hello"])) == 200
        post(collector.url, request([span(1, {})]))
        collector.tempo.wait_spans(1)
        assert collector.others.logs == []
    assert not (tmp_path / "logs.jsonl").exists()


def test_a_list_of_a_profile_replaces_the_list(tmp_path: Path) -> None:
    """Lists are not joined: a profile that names one exporter has one exporter."""
    with running(tmp_path, PROFILES / "logs-loki.yaml", PROFILES / "logs-file.yaml",
                 COLLECTOR_LOGS_FILE=str(tmp_path / "logs.jsonl")) as collector:
        post(collector.url, logs(["hello"]))
        until(lambda: (tmp_path / "logs.jsonl").exists() or None, "the file")
    assert collector.others.logs == []


def test_a_whole_stack_with_tls_and_a_token(tmp_path: Path, model: OpenAIServer) -> None:
    """From an application that trusts the certificate to the vote's span, which takes the gateway's own port."""
    files = certificate(tmp_path)
    with whole(tmp_path, "--profile=tls", **files) as house:
        secured = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": house.stack.plan.endpoint,
            "OTEL_EXPORTER_OTLP_CERTIFICATE": files["COLLECTOR_CERT_FILE"],
            "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{TOKEN}",
            "REQUESTS_CA_BUNDLE": "", "CURL_CA_BUNDLE": "",  # these would win over OpenTelemetry's certificate
        }
        turn = house.backend.find_turn(house.ask(model, **secured))
        assert house.backend.vote(turn, "down") == "add"
        assert len(house.backend.find_vote(turn["trace_id"])) == 1
        unheard = house.ask(model, heard=False, **{**secured, "OTEL_EXPORTER_OTLP_HEADERS": ""})
        with pytest.raises(NotFound):
            house.backend.find_turn(unheard, 5)
