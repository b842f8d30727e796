"""How texts of a conversation are compared: similarity, cues, shared identifiers, and how much of an answer was kept.

Similarity is RapidFuzz's ``token_set_ratio`` on words without case and punctuation, 0 to 100: it does not mind the
order of words or additions.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache

from rapidfuzz import fuzz, utils
from rapidfuzz.distance import Levenshtein

MOST = 8000
"""Characters that are compared; what follows is left out."""
_CODE = re.compile(r"```[^\n]*\n(.*?)```|`([^`\n]+)`", re.DOTALL)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*")
_WORD = re.compile(r"\w+")
_SPECIAL = re.compile(r"[a-z][A-Z]|_|\.")
_COMMON = frozenset(("the", "and", "for", "not", "def", "return", "import", "from", "class", "self", "print", "with",
                     "this", "that", "error", "none", "true", "false", "else", "while", "try", "except"))
_LEAST_SHARED = 4


def similarity(one: str, other: str) -> float:
    """0 (nothing in common) to 100 (the same words, or those of one among those of the other)."""
    return fuzz.token_set_ratio(one[:MOST], other[:MOST], processor=utils.default_process)


def words(text: str) -> int:
    """Number of words."""
    return len(_WORD.findall(text))


def cue(text: str, phrases: tuple[str, ...], *, first: bool = False) -> bool:
    """Tell whether one of ``phrases`` is in ``text`` as whole words; with ``first``, whether it begins with one."""
    pattern = _pattern(phrases)
    said = text.casefold().strip()
    return (pattern.match(said) if first else pattern.search(said)) is not None


@lru_cache(maxsize=64)
def _pattern(phrases: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(_whole(phrase) for phrase in sorted(phrases, key=len, reverse=True)) or r"(?!)")


def _whole(phrase: str) -> str:
    escaped = re.escape(phrase).replace(r"\ ", r"\s+").replace("'", "['’]")
    return r"(?<!\w)" + escaped + (r"(?!\w)" if phrase[-1:].isalnum() else "")


def identifiers(text: str) -> frozenset[str]:
    """Names in the code of ``text``; where it marks no code, names that look like code (``snake_case``, ``a.b``)."""
    code = [block or inline for block, inline in _CODE.findall(text[:MOST])]
    found = set(_names(" ".join(code))) if code else {name for name in _names(text[:MOST]) if _SPECIAL.search(name)}
    return frozenset(found)


def _names(text: str) -> list[str]:
    return [name for name in _IDENTIFIER.findall(text) if len(name) > 2 and name.lower() not in _COMMON]


def mentions(text: str, names: frozenset[str]) -> bool:
    """Tell whether one of ``names`` is in ``text``, whole or as the last part of a dotted one."""
    said = set(_names(text[:MOST]))
    parts = {part for name in said for part in (name, *name.split("."))}
    wanted = {part for name in names for part in (name, *name.split(".")) if len(part) > 2}
    return bool(parts & wanted)


def shares(text: str, answer: str) -> bool:
    """Tell whether ``text`` takes something up from ``answer``: a number, or a word of more than a few letters."""
    return bool(_content(text) & _content(answer))


def _content(text: str) -> set[str]:
    found = _WORD.findall(text[:MOST].casefold())
    return {word for word in found if len(word) > _LEAST_SHARED or word.isdigit()}


def edit_distance(answer: str, used: str, *, shortest: float = 0.3, longest: float = 3.0) -> float | None:
    """How far the text that was used is from the answer: 0 equal, 1 nothing in common; blanks count as one.

    Normalised Levenshtein distance; of text with marked code, over its words and signs. None if ``used`` is shorter or
    longer than the answer by more than the given ratios: then somebody wrote a text of his own.
    """
    given, kept = (" ".join(text.split())[:MOST] for text in (answer, used))
    if not given or not shortest <= len(kept) / len(given) <= longest:
        return None
    one, other = (_pieces(given), _pieces(kept)) if "```" in answer else (given, kept)
    return Levenshtein.normalized_distance(one, other)


def _pieces(text: str) -> Sequence[str]:
    return re.findall(r"\w+|[^\w\s]", text)
