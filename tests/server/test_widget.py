"""How the widget is served: to every origin, once and for all under its hash, and as its integrity says."""

import base64
import gzip
import hashlib
import json

import pytest

from backspan.cli import main
from backspan.server import widget


@pytest.fixture(scope="module")
def gateway(servers):
    return servers("gateway", OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9").start()


def test_the_hashed_address_never_changes_and_the_plain_one_may(gateway):
    cached = {widget.path(): "public, max-age=31536000, immutable", "/widget.js": "public, max-age=300"}
    for path, caching in cached.items():
        status, headers, body = gateway.request("GET", path)
        found = {name.lower(): value for name, value in headers.items()}
        assert (status, found["cache-control"], found["access-control-allow-origin"]) == (200, caching, "*")
        assert found["content-type"] == "text/javascript; charset=utf-8" and found["vary"] == "Accept-Encoding"
        assert hashlib.sha256(body).hexdigest()[:16] in widget.path()
        assert gateway.request("GET", path, headers={"If-None-Match": found["etag"]})[0] == 304


def test_another_version_is_not_there(gateway):
    assert gateway.request("GET", "/widget.0123456789abcdef.js")[0] == 404


def test_it_is_packed_for_who_can_unpack(gateway):
    _, headers, body = gateway.request("GET", "/widget.js", headers={"Accept-Encoding": "gzip, br"})
    assert {name.lower(): value for name, value in headers.items()}["content-encoding"] == "gzip"
    assert gzip.decompress(body) == gateway.request("GET", "/widget.js")[2]


def test_where_it_is_and_what_it_says(gateway):
    status, about = gateway.json("/widget.json")
    body = gateway.request("GET", about["path"])[2]
    said = "sha384-" + base64.b64encode(hashlib.sha384(body).digest()).decode()
    assert (status, about["integrity"]) == (200, said)
    assert about["integrity"] != "sha384-" + base64.b64encode(hashlib.sha384(body + b" ").digest()).decode()


def test_every_language_has_every_word(gateway):
    status, texts = gateway.json("/widget.texts.json")
    assert status == 200 and sorted(texts) == ["de", "en", "es", "fr"]
    assert len({tuple(words) for words in texts.values()}) == 1
    assert all(text.strip() for words in texts.values() for text in words.values())
    assert all("{n}" in words["star"] for words in texts.values())


def test_the_command_prints_the_line_for_a_page(capsys):
    assert main(["widget", "https://feedback.example.com/tools/"]) == 0
    assert capsys.readouterr().out == (
        f'<script type="module" src="https://feedback.example.com/tools{widget.path()}" '
        f'integrity="{widget.script().integrity}" crossorigin="anonymous"></script>\n')
    assert main(["widget", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["src"] == f"http://127.0.0.1:8318{widget.path()}"


@pytest.mark.parametrize("url", ["example.com", "javascript:alert(1)", 'https://a/"><script>'])
def test_the_command_refuses_what_is_no_address(url, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["widget", url])
    assert ended.value.code == 2
