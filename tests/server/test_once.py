"""Requests with the same key at the same moment, and keys of servers: what is remembered, and for how long."""

import json

import pytest
from starlette.requests import Request

from backspan.server.keys import FRESH_SECONDS, OTLP, READ, SCOPES, Keyring
from backspan.server.once import UnderWay
from backspan.server.problems import Problem
from backspan.store import Policy, Store, keys, sqlite_url

UP, DOWN = {"thumbs": "up"}, {"thumbs": "down"}


def _request(key, token="bs1.x", path="/v1/feedback"):
    headers = [(b"host", b"g"), (b"backspan-token", token.encode())]
    headers += [] if key is None else [(b"idempotency-key", key.encode())]
    return Request({"type": "http", "method": "POST", "path": path, "headers": headers, "query_string": b"",
                    "scheme": "http", "server": ("g", 80)})


def test_while_the_first_is_under_way_the_second_waits():
    under_way = UnderWay()
    with under_way.claim(_request("k"), UP) as first:
        for body, status in ((UP, 409), (DOWN, 422)):
            with pytest.raises(Problem) as refused, under_way.claim(_request("k"), dict(body)):
                pass
            assert (refused.value.status, refused.value.reason) == (status, "idempotency")
        for other in (_request("k", token="bs1.y"), _request("k", path="/v1/signals"), _request("k2")):
            with under_way.claim(other, UP) as claim:
                assert claim.key != first.key
    with under_way.claim(_request("k"), UP) as again:
        assert again == first


def test_a_request_that_fails_is_no_longer_under_way():
    under_way = UnderWay()
    with pytest.raises(RuntimeError), under_way.claim(_request("k"), UP):
        raise RuntimeError
    with under_way.claim(_request("k"), UP) as claim:
        assert claim is not None


def test_without_a_key_nothing_is_remembered():
    under_way = UnderWay()
    with under_way.claim(_request(None), UP) as one, under_way.claim(_request(None), UP) as two:
        assert one is two is None


@pytest.fixture
def store(tmp_path):
    made = Store(sqlite_url(tmp_path / "s.db"), identify=lambda *_: "", policy=Policy(False, False))
    yield made
    made.close()


def test_keys_are_read_once_in_a_while(store):
    key, text = store.write(lambda conn: keys.add(conn, [READ, OTLP], "x", 1.0)).result()
    now = [0.0]
    ring = Keyring(store, "everything", lambda: now[0])
    assert ring.scopes_of(text) == {READ, OTLP} and ring.scopes_of("everything") == set(SCOPES)
    assert store.write(lambda conn: keys.revoke(conn, key.id, 2.0)).result()
    assert ring.scopes_of(text) == {READ, OTLP}, "known for a moment"
    now[0] = FRESH_SECONDS
    assert ring.scopes_of(text) == set()


@pytest.mark.parametrize("text", ["", "bsk1.", "bsk1..", "bsk1.x.y", "bs1.x", "everything else", "\u00e9"])
def test_what_is_no_key_opens_nothing(store, text):
    assert Keyring(store, "everything").scopes_of(text) == frozenset()
    assert Keyring(None, None).scopes_of(text) == frozenset()


def test_a_key_is_not_in_what_is_stored(store):
    _, text = store.write(lambda conn: keys.add(conn, [READ], "x", 1.0)).result()
    with store.reading() as conn:
        [row] = conn.execute(keys.api_keys.select()).mappings()
    assert text.split(".")[2] not in json.dumps(dict(row))
