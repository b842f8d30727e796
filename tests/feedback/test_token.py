"""Tokens: what they carry, who can read them, and when they are of no use."""

import base64
import random
import stat
import subprocess
import sys

import pytest

from backspan import config, semconv
from backspan.feedback.model import InvalidFeedback
from backspan.feedback.seal import Broken, Ring
from backspan.feedback.token import PREFIX, TTL_S, InvalidToken, mint, read

from .conftest import DIMS, NOW, SPAN_ID, TRACE_ID, key, target

PERSON = "3b2222edc8855a3b34e7a8df9d818a9b"


def reason(token, **given):
    with pytest.raises(InvalidToken) as raised:
        read(token, **given)
    return raised.value.reason


def test_a_token_carries_the_target_the_rater_and_the_names():
    token = mint(target(), rater=PERSON, names=["user_*", "implicit_copy"], now=NOW)
    claims = read(token, now=NOW)
    assert claims.target == target(dims={**DIMS, semconv.ENVIRONMENT: "", semconv.SERVICE_NAME: ""})
    assert (claims.rater, claims.names, claims.expires, claims.audience) == (
        PERSON, ("implicit_copy", "user_*"), NOW + TTL_S, None)


def test_an_answer_without_dimensions_stays_without():
    assert read(mint(target(dims={}))).target.dims == {}


@pytest.mark.parametrize("fields", [
    {"trace_id": None, "span_id": None}, {"response_id": None}, {"turn_id": "other"}, {"turn_id": None},
    {"trace_id": None, "span_id": None, "response_id": None, "turn_id": None, "at": None},
    {"trace_id": "of no usual form", "span_id": "ab", "trace_flags": 255}, {"at": 0.0}, {"at": NOW - 0.25},
    {"conversation_id": "日本語 ✓"},
])
def test_every_kind_of_target_comes_back(fields):
    given = target(**fields, dims={})
    assert read(mint(given)).target == given


def test_a_full_token_has_about_four_hundred_characters_fit_for_a_url():
    token = mint(target(response_id="chatcmpl-9qyRk1Wc6vJ2yqH0hK1Qv5uF7sXzA"), rater=PERSON, names=["user_*"])
    assert len(token) <= 420
    assert token.isascii() and not set(token) & set(" +/&?#%\"'<>")


def test_nothing_can_be_read_from_a_token():
    token = mint(target(conversation_id="conversation-1"), rater=PERSON)
    text = token.removeprefix(PREFIX)
    raw = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    # None so short that chance writes it into a few hundred letters.
    for secret in (TRACE_ID, SPAN_ID, "chatcmpl-1", "gpt-5-mini", "support", PERSON, "conversation-1"):
        assert secret not in token
        assert secret.encode() not in raw
        assert secret.encode() not in bytes.fromhex(raw.hex())


def test_keys_rotate_without_breaking_open_pages(setenv):
    old, new = key(b"o"), key(b"n")
    setenv(BACKSPAN_TOKEN_KEYS=old)
    before = mint(target())
    setenv(BACKSPAN_TOKEN_KEYS=f"{new},{old}")
    after = mint(target())
    assert read(before).target.trace_id == read(after).target.trace_id == TRACE_ID
    setenv(BACKSPAN_TOKEN_KEYS=new)
    assert read(after).target.trace_id == TRACE_ID
    assert reason(before) == "forged"


def test_a_token_expires():
    token = mint(target(), ttl=10, now=NOW)
    assert read(token, now=NOW + 9.9).target.span_id == SPAN_ID
    assert reason(token, now=NOW + 10) == "expired"


def test_a_token_is_for_its_audience():
    assert read(mint(target(), audience="shop"), audience="shop").audience == "shop"
    assert reason(mint(target(), audience="shop")) == "audience"
    assert reason(mint(target()), audience="shop") == "audience"


def test_a_changed_token_is_forged_wherever_it_was_changed():
    token, draw = mint(target()), random.Random(7)
    for place in range(len(PREFIX), len(token)):
        other = draw.choice([c for c in "ABCXYZabcxyz019" if c != token[place]])
        assert reason(token[:place] + other + token[place + 1:]) == "forged"


SPELLINGS = [
    lambda text: text + "=", lambda text: text + "\n", lambda text: text[:9] + "!" + text[9:],
    lambda text: text.replace("-", "+").replace("_", "/"),
]


def _spelled_once(token):
    """Tells whether no text but ``token`` itself opens; a limit by token counts texts."""
    last = [token[:-1] + chr(code) for code in range(33, 127)]
    for text in {*last, *(spell(token) for spell in SPELLINGS)} - {token}:
        try:
            read(text)
        except InvalidToken:
            continue
        return False
    return True


@pytest.mark.parametrize("length", range(6))
def test_a_token_has_one_spelling(length):
    assert _spelled_once(mint(target(conversation_id="c" * length)))


def test_a_second_spelling_is_noticed(monkeypatch):
    """The twin of the test above: base64 as the library reads it passes over some letters."""
    whole = Ring.open

    def lax(ring, text):
        try:
            raw = base64.urlsafe_b64decode(text.removeprefix(PREFIX) + "==")
        except ValueError:
            raise Broken from None
        return whole(ring, PREFIX + base64.urlsafe_b64encode(raw).decode().rstrip("="))

    monkeypatch.setattr(Ring, "open", lax)
    assert not all(_spelled_once(mint(target(conversation_id="c" * length))) for length in range(3))


def test_a_sealed_text_is_of_its_prefix():
    ring, other = Ring([key()], "bs1."), Ring([key()], "bs2.")
    assert ring.open(ring.seal(b"said")) == b"said"
    with pytest.raises(Broken):
        other.open("bs2." + ring.seal(b"said").removeprefix("bs1."))


@pytest.mark.parametrize("text", [
    "", "bs1.", "bs1.short", "gAAAA", "bs1." + "A" * 5000, "bs1." + "é" * 60, "bs1." + "A" * 60,
])
def test_what_is_no_token_is_forged(text):
    assert reason(text) == "forged"


def test_a_token_of_another_service_is_forged(setenv):
    setenv(BACKSPAN_TOKEN_KEYS=key(b"a"))
    token = mint(target())
    setenv(BACKSPAN_TOKEN_KEYS=key(b"b"))
    assert reason(token) == "forged"


@pytest.mark.parametrize(("given", "field"), [
    ({"names": []}, "names"), ({"names": ["thumbs"]}, "names"), ({"names": "user_thumbs"}, "names"),
    ({"names": ["*"]}, "names"), ({"names": [5]}, "names"), ({"ttl": 0}, "ttl"), ({"ttl": float("nan")}, "ttl"),
])
def test_a_token_that_could_never_be_used_is_refused(given, field):
    with pytest.raises(InvalidFeedback) as raised:
        mint(target(), **given)
    assert raised.value.field == field


def test_without_an_id_there_is_nothing_to_seal():
    with pytest.raises(InvalidFeedback, match="target"):
        mint(target(trace_id=None, span_id=None, response_id=None, conversation_id=None))


def test_a_malformed_key_is_said_once_and_no_token_made(setenv, caplog):
    setenv(BACKSPAN_TOKEN_KEYS="not-a-key")
    assert (mint(target()), mint(target())) == (None, None)
    assert reason("bs1." + "A" * 60) == "unavailable"
    assert caplog.text.count("not 32 bytes of base64") == 1
    assert "not-a-key" not in caplog.text


def test_where_no_key_can_be_kept_it_is_said_once_and_no_token_made(setenv, caplog, tmp_path):
    (tmp_path / "file").touch()
    setenv(BACKSPAN_DATA_DIR=str(tmp_path / "file" / "below"))
    assert (mint(target()), mint(target())) == (None, None)
    assert caplog.text.count("set BACKSPAN_TOKEN_KEYS, or BACKSPAN_DATA_DIR") == 1


def test_without_the_package_the_pip_line_is_said_once(monkeypatch, caplog):
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.ciphers.aead", None)
    assert (mint(target()), mint(target())) == (None, None)
    assert caplog.text.count("pip install 'backspan[server]'") == 1
    assert reason("bs1." + "A" * 60) == "unavailable"


def test_processes_that_start_together_make_one_key_for_their_owner_alone(tmp_path):
    code = (
        "import sys; from backspan.feedback.token import mint; from backspan.context import Target; "
        "sys.stdin.readline(); print(mint(Target(response_id='r')), flush=True)"
    )
    environ = {"BACKSPAN_DATA_DIR": str(tmp_path / "shared"), "PATH": "/usr/bin:/bin"}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    children = [subprocess.Popen([sys.executable, "-c", code], env=environ, **pipes) for _ in range(4)]
    for child in children:
        child.stdin.write("go\n")
        child.stdin.flush()
    tokens = [child.communicate(timeout=60)[0].strip() for child in children]
    files = list((tmp_path / "shared").iterdir())
    assert [file.name for file in files] == ["token.key"]
    assert stat.S_IMODE(files[0].stat().st_mode) == 0o600
    settings = config.read({"BACKSPAN_DATA_DIR": str(tmp_path / "shared")})
    assert settings.data_dir == files[0].parent
    keys = files[0].read_text()
    assert all(_opens(keys, token) for token in tokens)


def _opens(keys, token):
    return bool(Ring([keys.strip()], PREFIX).open(token))
