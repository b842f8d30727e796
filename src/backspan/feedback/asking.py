"""Who is asked: a probability for each stratum, so that every stratum gets its answers and nobody is pestered.

Pure: the counts come from the store, chance from a keyed hash of the answer's id. So the decision for an answer is the
same whenever and wherever it is made from the same counts, and cannot be guessed from outside.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from backspan import semconv

DAY: Final = 86400.0
STRATA: Final = {"segment": semconv.SEGMENT, "prompt_name": semconv.PROMPT_NAME,
                 "prompt_version": semconv.PROMPT_VERSION, "variant": semconv.VARIANT, "model": semconv.REQUEST_MODEL,
                 "surface": "surface"}
"""What a stratum may be made of -> the dimension that it is."""


@dataclass(frozen=True)
class Asking:
    """The policy.

    Attributes:
        by: what makes a stratum: keys of `STRATA`.
        target: answers wanted from each stratum in a window.
        window: seconds.
        cap: times that one person is asked in ``cap_window`` seconds.
        least, most: bounds of the probability. ``least`` is more than 0: what is never asked cannot be weighted.
    """

    by: tuple[str, ...] = ("segment", "prompt_version", "surface")
    target: int = 200
    window: float = 7 * DAY
    cap: int = 3
    cap_window: float = 7 * DAY
    least: float = 0.02
    most: float = 1.0


@dataclass(frozen=True)
class Seen:
    """What a stratum had in the last window: answers that could be asked about, and answers given; and how often the
    person at hand was asked in the cap's window."""

    turns: int
    answered: int
    asked_person: int


@dataclass(frozen=True)
class Decision:
    """``probability`` is 0 for a person who was asked often enough: such answers are not of the sampled population."""

    ask: bool
    probability: float


def stratum(policy: Asking, dims: Mapping[str, str], surface: str | None) -> str:
    """The stratum's name: its values, separated by ``|``."""
    said = {**dims, "surface": surface or ""}
    return "|".join(said.get(STRATA[key], "") for key in policy.by)


def decide(policy: Asking, seen: Seen, id: str, seed: bytes) -> Decision:
    """Decide whether answer ``id`` asks.

    The probability is the share of the window's answers that is still needed to reach the target: all of them in a
    stratum that is new or small, few in a large one.
    """
    if seen.asked_person >= policy.cap:
        return Decision(False, 0.0)
    missing = max(0, policy.target - seen.answered)
    wanted = missing / max(1, seen.turns) if seen.turns > policy.target else 1.0
    probability = round(min(policy.most, max(policy.least, wanted)), 4)
    return Decision(chance(id, seed) < probability, probability)


def chance(id: str, seed: bytes) -> float:
    """A number in [0, 1) that belongs to ``id``: HMAC-SHA-256, its first 53 bits."""
    digest = hmac.new(seed, id.encode(), hashlib.sha256).digest()
    return (int.from_bytes(digest[:8], "big") >> 11) / 2**53
