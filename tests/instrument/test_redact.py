"""What is masked, what is not, and that no text takes long."""

from __future__ import annotations

import pytest

from backspan import _guard
from backspan.redact import REDACTED, mask, redact, redactor

MASKED = {
    "write to bob.smith+x@example.co.uk now": "write to [email] now",
    "+49 30 1234567 or (212) 555-0100 or 06 12 34 56 78": "[phone] or [phone] or [phone]",
    "4111 1111 1111 1111, 4111111111111111": "[card], [card]",
    "DE89 3704 0044 0532 0130 00. GB82WEST12345698765432": "[iban]. [iban]",
    "from 192.168.10.254 and fe80::1 and 2001:db8::8a2e:370:7334": "from [ip] and [ip] and [ip]",
    "sk-proj-abcdefghijklmnop1234 ghp_abcdefghijklmnopqrstuv AKIAABCDEFGHIJKLMNOP": "[secret] [secret] [secret]",
    "Authorization: Bearer abcdef.ghi.jklmn": "Authorization: Bearer [secret]",
    "password=hunter2hunter, api_key: 'abcdefgh12345'": "password=[secret], api_key: '[secret]'",
    "https://user:pass@host/x": "https://[secret]@host/x",
    "-----BEGIN RSA PRIVATE KEY-----\nabc\n-----END RSA PRIVATE KEY-----": "[secret]",
}
UNTOUCHED = (
    "4111111111111112", "DE89370400440532013001", "999.1.1.1", "version 1.2.3", "at 12:30:45", "2026-11-20 10:30",
    "20.11.2026 14:00", "1 000 000 000", "3.14159265358979", "0.1 0.2 0.3 0.4 0.5", "order 12345678901",
    "550e8400-e29b-41d4-a716-446655440000", "a token: the quick", "The quick brown fox", "", "naïve ☃ 東京",
)


@pytest.mark.parametrize("text", MASKED)
def test_masked(text):
    assert mask(text) == MASKED[text]
    assert mask(mask(text)) == mask(text)


@pytest.mark.parametrize("text", UNTOUCHED)
def test_untouched(text):
    assert mask(text) == text


@pytest.mark.parametrize("piece", ["a", "1", "A1", "1 ", ":", "eyJ", "-----BEGIN ", "key=:", "bearer ", "a.b-c@", "://:a",
                                   "1.1.", "+1-", "(1)", "AB12 ", "sk-", "a@a."])
def test_work_grows_with_the_text_not_with_its_square(piece):
    """A pattern that backtracks would take hours here, on any machine."""
    mask(piece * 50_000 + "@1")


def test_long_texts_are_masked_too():
    assert mask("x" * 100_000 + " bob@example.com").endswith("[email]")
    assert redact("x" * 100_000 + " bob@example.com").endswith("[email]")


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
    assert redact("secret") == REDACTED


def test_a_hook_that_raises_is_counted(monkeypatch):
    monkeypatch.delenv("BACKSPAN_RAISE")
    redactor(lambda text: 1 / 0)
    redact("secret")
    assert _guard.failures() == {"redact._by_hook": 1}
