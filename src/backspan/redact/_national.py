"""National ids by country: the forms they are written in, and how they are checked.

A form is either telling by itself (signs between the digits, letters, or a check that few numbers pass by chance), or
it counts only after a word that names the id: one in eleven numbers of nine digits passes an 11-test.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from backspan.redact import _checks as checks


@dataclass(frozen=True)
class Id:
    """One kind of number.

    Attributes:
        kind: what stands in brackets for it; begins with the country.
        forms: patterns that tell by themselves.
        check: tells whether the digits and letters of a match can be such a number.
        named: patterns that count only after one of ``words``.
        words: what the number is called, as a pattern.
        checked: whether it has check digits; without, it is looked for only if its country is asked for.
    """

    kind: str
    forms: tuple[str, ...]
    check: Callable[[str], bool]
    named: tuple[str, ...] = ()
    words: str = ""
    checked: bool = True

    @property
    def called(self) -> list[str]:
        """The words, without their variants."""
        return [re.sub(r"\(.*\)|[?\\]", "", word) for word in re.split(r"\|(?![^(]*\))", self.words) if word]

    @property
    def country(self) -> str:
        """Two letters, lower case."""
        return self.kind[:2]


_DAY6 = r"[0-9]{6}"
IDS: tuple[Id, ...] = (
    Id("us_ssn", (r"[0-9]{3}-[0-9]{2}-[0-9]{4}", r"[0-9]{3} [0-9]{2} [0-9]{4}"), checks.us_ssn, (r"[0-9]{9}",),
       r"ssn|social security(?: number| no\.?)?", checked=False),
    Id("ca_sin", (r"[0-9]{3}-[0-9]{3}-[0-9]{3}",), checks.ca_sin, (r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}",),
       r"sin|nas|social insurance(?: number| no\.?)?"),
    Id("br_cpf", (r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}",), checks.br_cpf, (r"[0-9]{11}",), r"cpf"),
    Id("br_cnpj", (r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}/[0-9]{4}-[0-9]{2}",), checks.br_cnpj, (r"[0-9]{14}",), r"cnpj"),
    Id("in_aadhaar", (r"[2-9][0-9]{3} [0-9]{4} [0-9]{4}", r"[2-9][0-9]{3}-[0-9]{4}-[0-9]{4}"), checks.in_aadhaar,
       (r"[2-9][0-9]{11}",), r"aadhaar|aadhar|uidai|uid"),
    Id("in_pan", (r"[A-Z]{3}[ABCFGHJLPT][A-Z][0-9]{4}[A-Z]",), lambda said: True, checked=False),
    Id("au_tfn", (), checks.au_tfn, (r"[0-9]{3} ?[0-9]{3} ?[0-9]{3}",), r"tfn|tax file(?: number| no\.?)?"),
    Id("au_medicare", (r"[2-6][0-9]{3} [0-9]{5} [0-9]",), checks.au_medicare, (r"[2-6][0-9]{9}",), r"medicare"),
    Id("gb_nhs", (r"[0-9]{3} [0-9]{3} [0-9]{4}",), checks.gb_nhs, (r"[0-9]{3}-?[0-9]{3}-?[0-9]{4}",), r"nhs"),
    Id("gb_nino",
       (r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]",),
       lambda said: True, checked=False),
    Id("de_steuer_id", (r"[0-9]{11}", r"[0-9]{2} [0-9]{3} [0-9]{3} [0-9]{3}"), checks.de_steuer_id),
    Id("fr_nir", (r"[12] ?[0-9]{2} ?[0-9]{2} ?(?:[0-9]{2}|2[AB]) ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}",), checks.fr_nir),
    Id("es_dni", (r"[0-9]{8}-?[A-HJ-NP-TV-Z]", r"[0-9]{2}\.[0-9]{3}\.[0-9]{3}-?[A-HJ-NP-TV-Z]"), checks.es_dni),
    Id("es_nie", (r"[XYZ]-?[0-9]{7}-?[A-HJ-NP-TV-Z]",), checks.es_dni),
    Id("it_codice_fiscale",
       (r"[A-Z]{6}[0-9LMNP-V]{2}[ABCDEHLMPRST][0-9LMNP-V]{2}[A-Z][0-9LMNP-V]{3}[A-Z]",), checks.it_codice_fiscale),
    Id("nl_bsn", (r"[0-9]{4}\.[0-9]{2}\.[0-9]{3}",), checks.nl_bsn, (r"[0-9]{9}", r"[0-9]{3} [0-9]{3} [0-9]{3}"),
       r"bsn|burgerservicenummer|sofi(?:-?nummer)?"),
    Id("be_national", (r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}\.[0-9]{2}", r"[0-9]{11}"), checks.be_national),
    Id("pl_pesel", (r"[0-9]{11}",), checks.pl_pesel),
    Id("pt_nif", (), checks.pt_nif, (r"[0-9]{9}", r"[0-9]{3} [0-9]{3} [0-9]{3}"), r"nif|contribuinte"),
    Id("se_personnummer", (_DAY6 + r"[-+][0-9]{4}", r"(?:19|20)" + _DAY6 + r"[-+]?[0-9]{4}"), checks.se_personnummer,
       (_DAY6 + r"[0-9]{4}",), r"personnummer|person-?nr\.?|samordningsnummer"),
    Id("fi_henkilotunnus", (_DAY6 + r"[-+A-FU-Y][0-9]{3}[0-9A-FHJ-NPR-Y]",), checks.fi_henkilotunnus),
    Id("dk_cpr", (_DAY6 + r"-[0-9]{4}",), checks.dk_cpr, (_DAY6 + r"[0-9]{4}",), r"cpr(?:-?n(?:umme)?r\.?)?",
       checked=False),
    Id("no_fodselsnummer", (r"[0-9]{11}", _DAY6 + r" [0-9]{5}"), checks.no_fodselsnummer),
    Id("ch_ahv", (r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", r"756[0-9]{10}"), checks.ch_ahv),
)
COUNTRIES = tuple(sorted({one.country for one in IDS}))
"""Every country that ids are known of."""

DEFAULT = "checked"


def chosen(words: Collection[str]) -> tuple[Id, ...]:
    """The ids that ``words`` ask for.

    ``checked``: of every country those with check digits. A country (``us``): all of it. A country with a minus
    (``-br``): none of it. ``all`` and ``none``. Nothing at all means ``checked``.
    """
    said = {word.lower() for word in words} or {DEFAULT}
    if "none" in said:
        return ()
    without = {word[1:] for word in said if word.startswith("-")}
    if said == {f"-{word}" for word in without}:
        said.add(DEFAULT)
    return tuple(
        one for one in IDS if one.country not in without
        and ("all" in said or one.country in said or (one.checked and DEFAULT in said)))


class National:
    """The chosen ids as two patterns, built once: one of the telling forms, one of those after a word."""

    def __init__(self, ids: Iterable[Id]) -> None:
        self.ids = tuple(ids)
        self._forms = [(re.compile("|".join(one.forms)), one) for one in self.ids if one.forms]
        self._named = [(re.compile(f"(?i:{one.words})"), re.compile("|".join(one.named)), one)
                       for one in self.ids if one.named]
        telling = _either(form for one in self.ids for form in one.forms)
        self._telling = re.compile(rf"(?<![\w.+\-/])(?:{telling})(?![\w/]|[.\-]\w)")
        words, numbers = _either(one.words for _, _, one in self._named), _either(
            form for _, _, one in self._named for form in one.named)
        self._after = re.compile(
            rf"((?i:\b(?:{words})\b))([^0-9\n]{{0,20}}?)(?<![\w.+\-])({numbers})(?!\w|[.\-]\w)")

    def mask(self, text: str, found: dict[str, int]) -> str:
        """``text`` with the ids masked, counted by kind in ``found``."""
        if self._named:
            text = self._after.sub(lambda match: self._after_word(match, found), text)
        return self._telling.sub(lambda match: self._alone(match, found), text) if self._forms else text

    def _alone(self, match: re.Match[str], found: dict[str, int]) -> str:
        number = _bare(match[0])
        for form, one in self._forms:  # one form may fit several: what a check refuses may be the next one's
            if form.fullmatch(match[0]) and one.check(number):
                found[one.kind] = found.get(one.kind, 0) + 1
                return f"[{one.kind}]"
        return match[0]

    def _after_word(self, match: re.Match[str], found: dict[str, int]) -> str:
        word, between, said = match.groups()
        for words, form, one in self._named:
            if words.fullmatch(word) and form.fullmatch(said) and one.check(_bare(said)):
                found[one.kind] = found.get(one.kind, 0) + 1
                return f"{word}{between}[{one.kind}]"
        return match[0]


def _either(patterns: Iterable[str]) -> str:
    """An alternative of all, the longest first: the first that fits is taken."""
    return "|".join(sorted(set(patterns), key=lambda one: (-len(one), one)))


def _bare(said: str) -> str:
    """The digits and letters alone."""
    return "".join(sign for sign in said if sign.isalnum())
