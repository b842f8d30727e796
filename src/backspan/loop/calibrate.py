"""What implicit signals are worth, measured against explicit votes: weights by naive Bayes, shrunk to the priors.

Every judged answer is good (voted up) or bad, and has or lacks each signal. With ``a`` of ``n1`` good ones and ``b`` of
``n0`` bad ones that have it, a signal's presence is worth the log likelihood ratio::

    log((a + s q1) / (n1 + s)) - log((b + s q0) / (n0 + s))

and its absence the same of the complements. ``s`` (`STRENGTH`) imaginary answers of each kind stand for the prior:
among them the signal is as frequent as among all (``r``), parted so that their ratio is that of the catalogue's prior
``w``: ``q1 = r (1 + w)`` and ``q0 = r (1 - w)``, with w negative for a bad sign. An estimate is the logistic function
of the log odds of a good answer and of all weights. Sources: D. Lewis, *Naive (Bayes) at forty* (ECML 1998); shrinkage
by a conjugate prior: A. Gelman and others, *Bayesian Data Analysis* (2013), 2.4. Signals that come together are
counted twice: the estimate ranks answers, it is no probability to bet on.

The AUC is the share of pairs (one good, one bad) that are ranked rightly, with the standard error of J. Hanley and B.
McNeil (Radiology 143, 1982), which knows of the answers' chance and not of the weights'. For the file it is measured on
answers left out of the fit, in ten parts.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from math import exp, log, sqrt
from pathlib import Path
from typing import Any

from backspan import semconv
from backspan.feedback.signals import Catalogue
from backspan.store.schema import dumps

STRENGTH = 20.0
PARTS = 10
_Z = 1.959963984540054
_LEAST = 1e-6


class WeightsError(ValueError):
    """A file of weights cannot be used; the message says why."""


@dataclass(frozen=True)
class Labelled:
    """A judged answer: its turn, the verdict, and its signals as `key_of` has them."""

    turn_id: str
    good: bool
    signals: frozenset[str]


@dataclass(frozen=True)
class Weight:
    """What one signal is worth, in log odds, present and absent; ``good`` and ``bad``: judged answers that had it."""

    present: float
    absent: float
    good: int = 0
    bad: int = 0


@dataclass(frozen=True)
class Auc:
    """How well estimates rank: 0.5 is chance. ``good`` and ``bad``: how many were ranked."""

    value: float
    low: float
    high: float
    good: int
    bad: int


@dataclass(frozen=True)
class Weights:
    """Weights of all signals, as they are kept in a file.

    Attributes:
        version: of the weights: ``prior`` or the first digits of a hash of what they say.
        made: Unix seconds; 0 of the priors.
        base: log odds of a good answer without any signal known.
        signals: by key.
        auc: measured on answers left out of the fit; None of the priors, or of too few answers.
    """

    version: str
    made: float
    base: float
    signals: Mapping[str, Weight]
    auc: Auc | None = None

    def estimate(self, signals: Iterable[str]) -> float:
        """The estimated satisfaction with an answer that has these signals, from 0 to 1."""
        there = frozenset(signals)
        odds = self.base + sum(one.present if key in there else one.absent for key, one in self.signals.items())
        return _logistic(odds)


def key_of(name: str, polarity: str) -> str:
    """A signal as weights know it: what it is called, and what it said."""
    return f"{name.removeprefix(semconv.IMPLICIT_PREFIX)}:{polarity}"


def priors(known: Catalogue) -> Weights:
    """The weights of the catalogue, for before anything was measured."""
    return Weights("prior", 0.0, 0.0, {
        key: Weight(log((1 + w) / (1 - w)), 0.0) for key, w in _signed(known).items()})


def _signed(known: Catalogue) -> dict[str, float]:
    """The priors by key, negative where the signal is a bad sign; of several bands of one polarity the mildest."""
    sign = {semconv.POSITIVE: 1, semconv.NEUTRAL: 0, semconv.NEGATIVE: -1}
    found: dict[str, float] = {}
    for signal in known.signals.values():
        for band in signal.bands:
            found.setdefault(key_of(signal.name, band.polarity), sign[band.polarity] * band.prior)
    return found


def fit(answers: Sequence[Labelled], known: Catalogue, now: float, strength: float = STRENGTH) -> Weights:
    """Weights from judged answers; without any they are the priors.

    Raises:
        WeightsError: unless there is a good answer and a bad one.
    """
    if len({one.good for one in answers}) < 2:
        raise WeightsError("there must be votes up and votes down on answers with a turn")
    base, weights = _weights(answers, _signed(known), strength)
    said = {"base": base, "signals": {key: asdict(one) for key, one in weights.items()}}
    version = hashlib.sha256(dumps(said).encode()).hexdigest()[:10]
    return Weights(version, now, base, weights, _left_out(answers, _signed(known), strength))


def _weights(
    answers: Sequence[Labelled], prior: Mapping[str, float], strength: float
) -> tuple[float, dict[str, Weight]]:
    n1 = sum(one.good for one in answers)
    n0 = len(answers) - n1
    good = Counter(key for one in answers if one.good for key in one.signals)
    bad = Counter(key for one in answers if not one.good for key in one.signals)
    return log((n1 + 1) / (n0 + 1)), {
        key: _weight((good[key], n1), (bad[key], n0), prior.get(key, 0.0), strength)
        for key in sorted({*prior, *good, *bad})}


def _weight(good: tuple[int, int], bad: tuple[int, int], w: float, s: float) -> Weight:
    (a, n1), (b, n0) = good, bad
    rate = (a + b) / (n1 + n0)
    if not rate:
        return Weight(log((1 + w) / (1 - w)), 0.0)
    p1 = _open((a + s * min(rate * (1 + w), 1.0)) / (n1 + s))
    p0 = _open((b + s * min(rate * (1 - w), 1.0)) / (n0 + s))
    return Weight(log(p1 / p0), log((1 - p1) / (1 - p0)), a, b)


def _open(share: float) -> float:
    return min(max(share, _LEAST), 1 - _LEAST)


def _logistic(odds: float) -> float:
    return 1 / (1 + exp(-odds)) if odds >= 0 else exp(odds) / (1 + exp(odds))


# --- how good it is -------------------------------------------------------------------------------------------------
def _left_out(answers: Sequence[Labelled], prior: Mapping[str, float], strength: float) -> Auc | None:
    """The AUC of estimates by weights that were fitted without them. All votes on one turn are in the same part."""
    parts = [[one for one in answers if _part(one.turn_id) == part] for part in range(PARTS)]
    ranked: list[tuple[float, bool]] = []
    for number, part in enumerate(parts):
        others = [one for other, rest in enumerate(parts) if other != number for one in rest]
        if len({one.good for one in others}) < 2:
            return None
        made = Weights("", 0.0, 0.0, _weights(others, prior, strength)[1])  # a part's base would rank the parts
        ranked += [(made.estimate(one.signals), one.good) for one in part]
    return auc(ranked)


def _part(turn_id: str) -> int:
    return int(hashlib.sha256(turn_id.encode()).hexdigest()[:8], 16) % PARTS


def auc(ranked: Sequence[tuple[float, bool]]) -> Auc | None:
    """The AUC of (estimate, good) pairs, ties counting a half, with its 95 % interval; None unless both are there."""
    n1 = sum(good for _, good in ranked)
    n0 = len(ranked) - n1
    if not n1 or not n0:
        return None
    values = Counter(value for value, good in ranked if good)
    others = Counter(value for value, good in ranked if not good)
    below, won = 0, 0.0
    for value in sorted({*values, *others}):
        won += values[value] * (below + others[value] / 2)
        below += others[value]
    area = won / (n1 * n0)
    q1, q2 = area / (2 - area), 2 * area * area / (1 + area)
    spread = area * (1 - area) + (n1 - 1) * (q1 - area * area) + (n0 - 1) * (q2 - area * area)
    half = _Z * sqrt(max(0.0, spread) / (n1 * n0))
    return Auc(area, max(0.0, area - half), min(1.0, area + half), n1, n0)


# --- the file -------------------------------------------------------------------------------------------------------
FORMAT = 1


def write(weights: Weights, path: Path) -> None:
    """Write the file; whoever reads it meanwhile sees the old one or the new one."""
    draft = path.with_name(path.name + ".new")
    draft.write_text(json.dumps({"format": FORMAT, **asdict(weights)}, indent=2, sort_keys=True) + "\n", "utf-8")
    draft.replace(path)


def read(path: Path) -> Weights:
    """Read a file of `write`.

    Raises:
        WeightsError: if it is none.
    """
    try:
        said: Any = json.loads(path.read_text("utf-8"))
        if said.pop("format") != FORMAT:
            raise WeightsError(f"{path}: is of another format")
        signals = {str(key): Weight(**one) for key, one in said.pop("signals").items()}
        measured = said.pop("auc")
        return Weights(signals=signals, auc=None if measured is None else Auc(**measured), **said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise error if isinstance(error, WeightsError) else WeightsError(f"{path}: {error}") from None
