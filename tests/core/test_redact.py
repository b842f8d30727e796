"""What is masked, what is not, what comes of rules and hooks, and that no text takes long."""

from __future__ import annotations

import importlib
import random
import re
import sys

import pytest

from backspan import _guard, config
from backspan import redact as redacting
from backspan.redact import REDACTED, _national, _patterns, _policy, examine, mask, policy, redact, redactor
from tests.core.test_redact_ids import EXAMPLES

MASKED = {
    "write to bob.smith+x@example.co.uk now": "write to [email] now",
    "+49 30 1234567 or (212) 555-0100 or 06 12 34 56 78": "[phone] or [phone] or [phone]",
    "4111 1111 1111 1111, 4111111111111111": "[card], [card]",
    "DE89 3704 0044 0532 0130 00. GB82WEST12345698765432": "[iban]. [iban]",
    "from 192.168.10.254 and fe80::1 and 2001:db8::8a2e:370:7334": "from [ip] and [ip] and [ip]",
    "Authorization: Bearer abcdef.ghi.jklmn": "Authorization: Bearer [secret]",
    "Authorization: Basic dXNlcjpwYXNz": "Authorization: Basic [secret]",
    "password=hunter2hunter, api_key: 'abcdefgh12345'": "password=[secret], api_key: '[secret]'",
    "client_secret=abcdefgh12345": "client_secret=[secret]",
    "https://user:pass@host/x": "https://[secret]@host/x",
    "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----": "[secret]",
    "I am 86095742719, paid with DE89370400440532013000": "I am [de_steuer_id], paid with [iban]",
    "my SSN is 536-22-1234": "my SSN is [phone]",  # by its form; with the ids of the country on it is [us_ssn]
}
SECRETS = (
    "sk-proj-abcdefghijklmnop1234", "sk-ant-api03-abcdefghijklmnop", "pk-lf-abcdefghijklmnop1234",
    "ghp_abcdefghijklmnopqrstuv", "github_pat_11ABCDEFG0abcdefghij_klmno", "glpat-abcdefghij0123456789",
    "xoxb-1234567890-abcdef", "xapp-1-A0000-123456-abcdef", "AKIAABCDEFGHIJKLMNOP",
    "AIza" + "a" * 35, "ya29.a0AfH6SMBabcdefghijkl", "GOCSPX-abcdefghijklmnopqrstuv", "hf_abcdefghijklmnopqrst",
    "gsk_abcdefghijklmnopqrst", "xai-abcdefghijklmnopqrst", "r8_abcdefghijklmnopqrst", "pplx-abcdefghijklmnopqrst",
    "nvapi-abcdefghijklmnopqrst", "dapi" + "0f" * 16, "npm_" + "a" * 36, "pypi-" + "A" * 60, "dop_v1_" + "0f" * 32,
    "SG.abcdefghijklmnop.abcdefghijklmnopqr", "key-" + "0f" * 16, "shpat_" + "0f" * 16, "lin_api_" + "a" * 40,
    "sk_" + "live_abcdefghijklmnop", "whsec_" + "a" * 32, "sq0atp-abcdefghijklmnopqrstuv",
    "eyJhbGciOiJI.eyJzdWIiOiIx.abc_DEF-123",
)
UNTOUCHED = (
    "4111111111111112", "DE89370400440532013001", "999.1.1.1", "version 1.2.3", "at 12:30:45", "2026-11-20 10:30",
    "20.11.2026 14:00", "1 000 000 000", "3.14159265358979", "0.1 0.2 0.3 0.4 0.5", "order 12345678901",
    "550e8400-e29b-41d4-a716-446655440000", "a token: the quick", "The quick brown fox", "", "naïve ☃ 東京",
    "Basic: introduction", "high light, glassy", "class Foo_bar(object): pass", "1732187654123",
)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    for name in ("BACKSPAN_REDACT_IDS", "BACKSPAN_REDACT_PRESIDIO"):
        monkeypatch.delenv(name, raising=False)
    config.reload()
    redacting.reload()
    redactor(None)
    yield
    redactor(None)
    redacting.reload()


def _set(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    config.reload()
    redacting.reload()


# --- our patterns ---------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("text", MASKED)
def test_masked(text):
    assert mask(text) == MASKED[text]
    assert mask(mask(text)) == mask(text)
    assert examine(mask(text)) == (mask(text), ())


@pytest.mark.parametrize("secret", SECRETS)
def test_secrets(secret):
    assert examine(f"use {secret}, please") == ("use [secret], please", (("secret", 1),))


@pytest.mark.parametrize("text", UNTOUCHED)
def test_untouched(text):
    assert examine(text) == (text, ())


def test_kinds_are_counted():
    text = "bob@example.com, al@example.com, 4111 1111 1111 1111, fe80::1 and 10.0.0.1, 756.9217.0769.85"
    assert examine(text)[1] == (("card", 1), ("ch_ahv", 1), ("email", 2), ("ip", 2))


def test_ids_of_a_country_are_asked_for_by_name(monkeypatch):
    _set(monkeypatch, "BACKSPAN_REDACT_IDS", "us")
    assert redact("SSN 536-22-1234, 86095742719") == "SSN [us_ssn], 86095742719"


def test_masking_twice_is_masking_once_whatever_stands_side_by_side(monkeypatch):
    _set(monkeypatch, "BACKSPAN_REDACT_IDS", "all")
    ids = [text for texts in EXAMPLES.values() for text in texts]
    pieces = [*ids, *MASKED, *SECRETS, *UNTOUCHED, " ", "-", ".", "/", "@", ":", "[", "]", "1", "password=", "NIF: "]
    draw = random.Random(7)
    for _ in range(3000):
        text = "".join(draw.choice(pieces)[draw.randrange(2):] for _ in range(draw.randrange(1, 6)))
        masked = mask(text)
        assert examine(masked) == (masked, ()), text


def test_secrets_without_a_gap_go_as_a_whole():
    """Each is seen only when the one before it is gone; no text may take as many rounds as it has secrets."""
    assert mask("key-" + "0f" * 16 + ("key-" + "0f" * 16) * 3) == "[secret][secret][secret][secret]"
    assert examine(("key-" + "0f" * 16) * 1000)[0] == REDACTED


# --- time -----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("piece", [
    "a", "1", "A1", "1 ", ":", "eyJ", "-----BEGIN ", "key=:", "bearer ", "a.b-c@", "://:a", "1.1.", "+1-", "(1)",
    "AB12 ", "sk-", "a@a.", "bsn ", "ssn 1", "123-45-", "756.1234.", "12 345 678 90", "SG.aaaaaaaaaaaaaaaa.",
    "A", "AAAAAA", "010170-", "-----BEGIN PRIVATE KEY-----"])
def test_work_grows_with_the_text_not_with_its_square(piece):
    """A pattern that backtracks would take hours here, on any machine."""
    mask(piece * (60_000 // len(piece)) + "@1")


def _longest(pattern: str) -> int:
    """Most characters that a match can have: with an unbounded repetition, more than any text."""
    with_parser = getattr(re, "_parser", None) or importlib.import_module("sre_parse")
    return with_parser.parse(pattern).getwidth()[1]


def _sources():
    every = _national.National(_national.chosen(("all",)))
    return [*_patterns.SOURCES, every._telling.pattern, every._after.pattern, _policy._NUMBERS.pattern]


def test_every_pattern_is_bounded():
    assert max(_longest(source) for source in _sources()) < 20_000


@pytest.mark.parametrize("source", [r"a+b", r"(?:\d{1,3}\.)*x", r"[a-z]{3,}"])
def test_twin_an_unbounded_pattern_is_noticed(source):
    assert _longest(source) > 1_000_000


def test_long_texts_are_masked_too():
    assert mask("x" * 100_000 + " bob@example.com").endswith("[email]")
    assert redact("x" * 100_000 + " bob@example.com").endswith("[email]")


# --- the hook -------------------------------------------------------------------------------------------------------
def test_the_apps_hook_runs_after_ours():
    @redactor
    def hide(text):
        return text.replace("Bob", "[name]")

    assert redact("Bob is bob@example.com") == "[name] is [email]"
    redactor(None)
    assert redact("Bob") == "Bob"
    assert hide("Bob") == "[name]"


@pytest.mark.parametrize("hook", [lambda text: 1 / 0, lambda text: None, lambda text: 5])
def test_a_hook_that_fails_leaves_nothing(monkeypatch, hook):
    monkeypatch.delenv("BACKSPAN_RAISE")
    redactor(hook)
    assert examine("secret") == (REDACTED, (("redacted", 1),))


def test_a_hook_that_raises_is_counted(monkeypatch):
    monkeypatch.delenv("BACKSPAN_RAISE")
    redactor(lambda text: 1 / 0)
    redact("secret")
    assert _guard.failures() == {"redact._by_hook": 1}


# --- rules of installed packages ------------------------------------------------------------------------------------
RULES = {
    "names": "def rule(text):\n    return text.replace('Bob', '[name]')\n",
    "raises": "def rule(text):\n    raise RuntimeError(text)\n",
    "nothing": "def rule(text):\n    return None\n",
    "broken": "import no_such_module_of_anybody\n",
}


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Install a package with one rule, as pip would."""
    made = []

    def add(name: str, version: str = "1.0"):
        package = f"rules_{name}"
        (tmp_path / f"{package}.py").write_text(RULES[name])
        about = tmp_path / f"{package}-1.dist-info"
        about.mkdir(exist_ok=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        (about / "entry_points.txt").write_text(f"[backspan.redactors]\n{name} = {package}:rule\n")
        made.append(package)
        importlib.invalidate_caches()
        redacting.reload()

    monkeypatch.syspath_prepend(str(tmp_path))
    yield add
    for package in made:
        sys.modules.pop(package, None)


def test_a_rule_of_an_installed_package(install):
    install("names")
    assert examine("Bob is bob@example.com") == ("[name] is [email]", (("email", 1), ("names", 1)))
    assert examine("nobody") == ("nobody", ())


@pytest.mark.parametrize("name", ["raises", "nothing", "broken"])
def test_a_rule_that_fails_loses_the_text_and_no_more(install, monkeypatch, caplog, name):
    monkeypatch.delenv("BACKSPAN_RAISE")
    install("names")
    install(name)
    assert [examine(f"Bob {number}") for number in range(3)] == [(REDACTED, (("redacted", 1),))] * 3
    assert _guard.failures() == ({} if name == "nothing" else {f"redact.{name}": 3})
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == (0 if name == "nothing" else 1)
    assert "Bob" not in "".join(said)


# --- the policy's version -------------------------------------------------------------------------------------------
def test_the_version_is_stable_and_says_what_is_active(install, monkeypatch):
    first = policy()
    assert re.fullmatch("[0-9a-f]{12}", first)
    redacting.reload()
    assert policy() == first
    seen = {first}
    _set(monkeypatch, "BACKSPAN_REDACT_IDS", "us")
    seen.add(policy())
    install("names")
    seen.add(policy())
    install("names", "1.1")
    seen.add(policy())
    redactor(str.upper)
    seen.add(policy())
    assert len(seen) == 5
    redactor(None)
    monkeypatch.delenv("BACKSPAN_REDACT_IDS")
    config.reload()
    redacting.reload()
    assert policy() != first  # the package is still there
