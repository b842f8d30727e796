"""National ids: each is masked, its neighbours with a wrong digit are not, and other numbers seldom are."""

from __future__ import annotations

import random
import re

import pytest

from backspan.redact import _national

EXAMPLES = {
    "us_ssn": ("536-22-1234", "536 22 1234", "SSN 536221234", "Social Security number: 536221234"),
    "ca_sin": ("130-692-544", "SIN 130 692 544", "NAS: 130692544"),
    "br_cpf": ("529.982.247-25", "CPF 52998224725"),
    "br_cnpj": ("11.222.333/0001-81", "CNPJ: 11222333000181"),
    "in_aadhaar": ("2341 2341 2346", "2341-2341-2346", "Aadhaar 234123412346"),
    "in_pan": ("ABCPE1234F",),
    "au_tfn": ("TFN 123 456 782", "tax file number 123456782"),
    "au_medicare": ("2123 45670 1", "Medicare no 2123456701"),
    "gb_nhs": ("943 476 5919", "NHS 9434765919", "NHS number 943-476-5919"),
    "gb_nino": ("AB123456C", "AB 12 34 56 C"),
    "de_steuer_id": ("86095742719", "86 095 742 719"),
    "fr_nir": ("255081416802538", "2 55 08 14 168 025 38"),
    "es_dni": ("12345678Z", "12345678-Z", "12.345.678-Z"),
    "es_nie": ("X1234567L", "X-1234567-L"),
    "it_codice_fiscale": ("RSSMRA85T10A562S",),
    "nl_bsn": ("1112.22.333", "BSN 111222333", "burgerservicenummer: 111 222 333"),
    "be_national": ("93.05.18-223.61", "93051822361"),
    "pl_pesel": ("44051401359",),
    "pt_nif": ("NIF 123456789", "contribuinte: 123 456 789"),
    "se_personnummer": ("811218-9876", "19811218-9876", "198112189876", "personnummer 8112189876"),
    "fi_henkilotunnus": ("131052-308T", "131052A308T"),
    "dk_cpr": ("070761-4285", "CPR-nr. 0707614285"),
    "no_fodselsnummer": ("01010750160", "010107 50160"),
    "ch_ahv": ("756.9217.0769.85", "7569217076985"),
}
BY_KIND = {one.kind: one for one in _national.IDS}


def _mask(text: str, *words: str) -> tuple[str, dict[str, int]]:
    found: dict[str, int] = {}
    return _national.National(_national.chosen(words)).mask(text, found), found


def test_every_kind_has_an_example():
    assert set(EXAMPLES) == set(BY_KIND)


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in EXAMPLES.items() for text in texts])
def test_masked_where_its_country_is_asked_for(kind, text):
    masked, found = _mask(f"so {text}, yes", kind[:2])
    assert re.fullmatch(rf"so \D*\[{kind}\], yes", masked)
    assert found == {kind: 1}
    assert _mask(masked, "all") == (masked, {})


@pytest.mark.parametrize(("kind", "text"), [(kind, texts[0]) for kind, texts in EXAMPLES.items()])
def test_a_word_goes_on_so_it_is_no_number(kind, text):
    number = re.search(r"[A-Z]{0,6}-?\d.*", text)[0]
    for glued in (f"{number}x", f"x{number}", f"{number}-5", f"{number}.5"):
        assert _mask(glued, kind[:2])[0] == glued


@pytest.mark.parametrize("kind", [kind for kind, one in BY_KIND.items() if one.checked])
def test_twin_one_digit_wrong_is_another_number(kind):
    """Every single wrong digit is noticed, but for those that stand outside the check (Medicare's last)."""
    text = EXAMPLES[kind][0]
    wrong = [f"{text[:at]}{digit}{text[at + 1:]}" for at, sign in enumerate(text) if sign.isdigit()
             for digit in "0123456789" if digit != sign]
    let_through = [one for one in wrong if _mask(one, kind[:2])[1].get(kind)]
    assert len(let_through) <= len(wrong) * 0.1, let_through


@pytest.mark.parametrize("kind", BY_KIND)
def test_what_is_on_unasked_has_check_digits(kind):
    text = "; ".join(EXAMPLES[kind])
    on = bool(_mask(text)[1].get(kind))
    assert on is BY_KIND[kind].checked


@pytest.mark.parametrize(("words", "countries"), [
    (("none",), set()), (("none", "us"), set()), (("us",), {"us"}), (("US", "gb"), {"us", "gb"}),
    (("all",), set(_national.COUNTRIES)), (("checked",), set(_national.COUNTRIES) - {"us", "dk"}),
    (("-br",), set(_national.COUNTRIES) - {"us", "dk", "br"}), (("checked", "us"), set(_national.COUNTRIES) - {"dk"}),
    (("xx",), set()),
])
def test_the_words_of_the_setting(words, countries):
    assert {one.country for one in _national.chosen(words)} == countries


def test_numbers_of_other_kinds_are_seldom_taken_for_ids():
    """Shares of random numbers without signs: telling forms only, so of nine and ten digits none."""
    draw = random.Random(5)
    mask = _national.National(_national.chosen(())).mask
    for length, most in ((8, 0), (9, 0), (10, 0), (11, 0.04), (12, 0.002), (13, 0.0005), (14, 0), (16, 0)):
        taken = 0
        for _ in range(4000):
            number = str(draw.randrange(10 ** (length - 1), 10 ** length))
            taken += mask(number, {}) != number
        assert taken / 4000 <= most, (length, taken)


@pytest.mark.parametrize("text", [
    "2026-11-20 10:30:00", "20.11.2026", "1 234 567 890", "order 123456789", "1732187654", "1732187654123",
    "550e8400-e29b-41d4-a716-446655440000", "3.14159265358", "192.168.10.254", "A4 80 g/m2", "ISBN 978-3-16-148410-0",
    "the medicare of 2123456710 people", "v1.2.3-45678901", "https://example.com/86095742719",
])
def test_untouched(text):
    assert _mask(text) == (text, {})


@pytest.mark.parametrize("kind", ["ca_sin", "au_tfn", "pt_nif", "nl_bsn"])
def test_a_word_is_needed_where_a_number_alone_tells_nothing(kind):
    named = next(text for text in EXAMPLES[kind] if text[0].isalpha())
    number = re.search(r"\d[\d ]*", named)[0]
    assert _mask(number, kind[:2])[0] == number
    assert _mask(f"{named} and {number}", kind[:2])[0].endswith(f"[{kind}] and {number}")
