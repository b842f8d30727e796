"""Check digits of payment cards, bank accounts and national ids, each given as digits and letters without signs.

Each returns whether ``said`` is well formed; what the issuer knows (whether the number was ever given out) it cannot
tell. Sources are the issuers' own specifications, named at the function where one rule has several readings.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

_VERHOEFF_TIMES = (
    (0, 1, 2, 3, 4, 5, 6, 7, 8, 9), (1, 2, 3, 4, 0, 6, 7, 8, 9, 5), (2, 3, 4, 0, 1, 7, 8, 9, 5, 6),
    (3, 4, 0, 1, 2, 8, 9, 5, 6, 7), (4, 0, 1, 2, 3, 9, 5, 6, 7, 8), (5, 9, 8, 7, 6, 0, 4, 3, 2, 1),
    (6, 5, 9, 8, 7, 1, 0, 4, 3, 2), (7, 6, 5, 9, 8, 2, 1, 0, 4, 3), (8, 7, 6, 5, 9, 3, 2, 1, 0, 4),
    (9, 8, 7, 6, 5, 4, 3, 2, 1, 0),
)
"""Multiplication in the dihedral group of order ten."""
_VERHOEFF_TURN = (1, 5, 7, 6, 2, 8, 3, 0, 9, 4)
_DNI_LETTERS = "TRWAGMYFPDXBNJZSQVHLCKE"
_FINNISH_LETTERS = "0123456789ABCDEFHJKLMNPRSTUVWXY"
_CODICE_ODD = (1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23)


def digits(said: str) -> list[int]:
    """The digits of ``said``, as numbers."""
    return [int(sign) for sign in said if sign.isdigit()]


def _weighted(said: Sequence[int], weights: Sequence[int]) -> int:
    return sum(digit * weight for digit, weight in zip(said, weights, strict=False))


def _day(year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    return True


def _short_day(year: int, month: int, day: int) -> bool:
    """Whether it is a day in any century: the two last digits of the year are known."""
    return _day(2000 + year, month, day) or _day(1900 + year, month, day)


def _uniform(said: str) -> bool:
    return len(set(said)) == 1


# --- rules that several numbers share -------------------------------------------------------------------------------
def luhn(said: str) -> bool:
    """Luhn (ISO/IEC 7812): cards, Canada's SIN, Sweden's number."""
    numbers = digits(said)
    doubled = [sum(divmod(2 * digit, 10)) for digit in numbers[-2::-2]]
    return (sum(doubled) + sum(numbers[-1::-2])) % 10 == 0


def iban(said: str) -> bool:
    """ISO 13616: 15 to 34 signs, modulus 97."""
    rearranged = said[4:] + said[:4]
    return 15 <= len(said) <= 34 and int("".join(str(int(sign, 36)) for sign in rearranged)) % 97 == 1


def verhoeff(said: str) -> bool:
    """Verhoeff: India's Aadhaar."""
    check, turn = 0, list(range(10))
    for digit in reversed(digits(said)):
        check = _VERHOEFF_TIMES[check][turn[digit]]
        turn = [_VERHOEFF_TURN[place] for place in turn]
    return check == 0


def ean13(said: str) -> bool:
    """EAN-13: Switzerland's AHV number."""
    return _weighted(digits(said), (1, 3) * 6 + (1,)) % 10 == 0


# --- America, Asia, Australia ---------------------------------------------------------------------------------------
def us_ssn(said: str) -> bool:
    """No check digit: areas 000, 666 and 900 on, group 00 and serial 0000 are never given out."""
    return said[:3] not in ("000", "666") and said[0] != "9" and said[3:5] != "00" and said[5:] != "0000"


def ca_sin(said: str) -> bool:
    """Luhn; 0 and 8 do not begin one."""
    return said[0] not in "08" and luhn(said)


def br_cpf(said: str) -> bool:
    """Two digits, each modulus 11 of what is before it."""
    numbers = digits(said)
    return not _uniform(said) and all(
        _weighted(numbers, range(place + 1, 1, -1)) * 10 % 11 % 10 == numbers[place] for place in (9, 10))


def br_cnpj(said: str) -> bool:
    """As `br_cpf`, with weights 2 to 9 in turn."""
    numbers, weights = digits(said), (6, 5, 4, 3, 2, 9, 8, 7, 6, 5, 4, 3, 2)
    return not _uniform(said) and all(
        _weighted(numbers, weights[13 - place:]) * 10 % 11 % 10 == numbers[place] for place in (12, 13))


def in_aadhaar(said: str) -> bool:
    """Verhoeff; the first digit is 2 to 9, and a palindrome is no number."""
    return said[0] not in "01" and said != said[::-1] and verhoeff(said)


def au_tfn(said: str) -> bool:
    """Nine digits, weights of the tax office, modulus 11."""
    return not _uniform(said) and _weighted(digits(said), (1, 4, 3, 7, 5, 8, 6, 9, 10)) % 11 == 0


def au_medicare(said: str) -> bool:
    """Ten digits; the ninth checks the first eight."""
    numbers = digits(said)
    return 2 <= numbers[0] <= 6 and _weighted(numbers[:8], (1, 3, 7, 9, 1, 3, 7, 9)) % 10 == numbers[8]


# --- Europe ---------------------------------------------------------------------------------------------------------
def gb_nhs(said: str) -> bool:
    """Ten digits, weights 10 to 2, modulus 11."""
    numbers = digits(said)
    return not _uniform(said) and (11 - _weighted(numbers[:9], range(10, 1, -1)) % 11) % 11 == numbers[9]


def de_steuer_id(said: str) -> bool:
    """ISO 7064 modulus 11,10; of the first ten digits one comes twice or thrice, the others once at most."""
    numbers = digits(said)
    repeated = sorted(count for digit in set(numbers[:10]) if (count := numbers[:10].count(digit)) > 1)
    product = 10
    for digit in numbers[:10]:
        product = ((digit + product) % 10 or 10) * 2 % 11
    return numbers[0] != 0 and repeated in ([2], [3]) and (11 - product) % 10 == numbers[10]


def fr_nir(said: str) -> bool:
    """Thirteen signs and a key of two, modulus 97; Corsica's 2A and 2B count as 19 and 18."""
    number = said[:13].replace("2A", "19").replace("2B", "18")
    month = said[3:5]
    return number.isdigit() and ("01" <= month <= "12" or "20" <= month <= "42" or "50" <= month) and (
        97 - int(number) % 97 == int(said[13:]))


def es_dni(said: str) -> bool:
    """Eight digits and a letter, modulus 23; a foreigner's begins with X, Y or Z, for 0, 1 and 2."""
    number = said[:-1].translate(str.maketrans("XYZ", "012"))
    return _DNI_LETTERS[int(number) % 23] == said[-1]


def it_codice_fiscale(said: str) -> bool:
    """Sixteen signs, the last a letter: values of the odd and the even places, modulus 26."""
    values = [int(sign, 36) - 10 if sign.isalpha() else int(sign) for sign in said]
    total = sum(_CODICE_ODD[value] if place % 2 == 0 else value for place, value in enumerate(values[:15]))
    return total % 26 == values[15]


def nl_bsn(said: str) -> bool:
    """The 11-test."""
    return not _uniform(said) and _weighted(digits(said), (9, 8, 7, 6, 5, 4, 3, 2, -1)) % 11 == 0


def be_national(said: str) -> bool:
    """Day of birth, serial and key, modulus 97; born from 2000 on, a 2 stands before."""
    key, number = int(said[9:]), said[:9]
    born = _short_day(int(said[:2]), int(said[2:4]) % 20 or 1, int(said[4:6]) or 1)
    return born and any(97 - int(century + number) % 97 == key for century in ("", "2"))


def pl_pesel(said: str) -> bool:
    """Weights 1, 3, 7, 9; the century is in the month."""
    numbers = digits(said)
    century, month = divmod(int(said[2:4]), 20)
    year = (1900, 2000, 2100, 2200, 1800)[century] + int(said[:2])
    return _day(year, month, int(said[4:6])) and _weighted(numbers, (1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1)) % 10 == 0


def pt_nif(said: str) -> bool:
    """Nine digits, modulus 11; a person's begins with 1, 2, 3 or 45."""
    numbers = digits(said)
    person = said[0] in "123" or said[:2] == "45"
    rest = _weighted(numbers[:8], range(9, 1, -1)) % 11
    return person and (0 if rest < 2 else 11 - rest) == numbers[8]


def se_personnummer(said: str) -> bool:
    """Day of birth and Luhn over ten digits; a coordination number's day is 60 higher."""
    short = said[-10:]
    day = int(short[4:6])
    return _short_day(int(short[:2]), int(short[2:4]), day - 60 if day > 60 else day) and luhn(short)


def fi_henkilotunnus(said: str) -> bool:
    """Day of birth, a sign for the century, a serial, and a letter by modulus 31. ``said`` keeps the sign out."""
    born = _short_day(int(said[4:6]), int(said[2:4]), int(said[:2]))
    return born and _FINNISH_LETTERS[int(said[:6] + said[-4:-1]) % 31] == said[-1]


def dk_cpr(said: str) -> bool:
    """Day of birth only: since 2007 the check digit is not kept."""
    return _short_day(int(said[4:6]), int(said[2:4]), int(said[:2]))


def no_fodselsnummer(said: str) -> bool:
    """Day of birth and two digits, modulus 11; a D-number's day is 40 higher."""
    numbers = digits(said)
    day = int(said[:2])
    born = _short_day(int(said[4:6]), int(said[2:4]), day - 40 if day > 40 else day)
    return born and _weighted(numbers, (3, 7, 6, 1, 8, 9, 4, 5, 2, 1)) % 11 == 0 and _weighted(
        numbers, (5, 4, 3, 2, 7, 6, 5, 4, 3, 2, 1)) % 11 == 0


def ch_ahv(said: str) -> bool:
    """EAN-13 that begins with 756."""
    return said[:3] == "756" and ean13(said)
