"""Shares that were sampled with unequal, known probabilities, weighted back to everybody; with intervals.

Whoever is asked with probability p stands for 1/p people. The raw share of those asked leans to the strata that were
asked more; the weighted one does not. Sampling is Poisson: each one is drawn by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log, sqrt
from statistics import NormalDist


@dataclass(frozen=True)
class Estimate:
    """A share (or a mean) with the bounds of its interval, and from how many answers it comes."""

    value: float
    low: float
    high: float
    n: int


def raw(values: Sequence[float], level: float = 0.95) -> Estimate | None:
    """The plain mean of 0/1 values with Wilson's interval (1927); None without values."""
    n = len(values)
    if not n:
        return None
    z = NormalDist().inv_cdf((1 + level) / 2)
    share = sum(values) / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return Estimate(share, max(0.0, centre - half), min(1.0, centre + half), n)


def hajek(values: Sequence[float], probabilities: Sequence[float], level: float = 0.95) -> Estimate | None:
    """The weighted mean, sum(y/p) / sum(1/p); None without values.

    J. Hájek, comment on D. Basu, in Foundations of Statistical Inference, 1971. Its variance is the linearised one for
    Poisson sampling, sum((1-p)/p^2 (y - mean)^2) / sum(1/p)^2 (Särndal, Swensson and Wretman, Model Assisted Survey
    Sampling, 1992, 5.7), with n/(n-1) for the estimated mean. Where everybody was asked (p = 1) that would be 0: it is
    never less than the variance of a plain sample of the effective size sum(w)^2 / sum(w^2).

    Raises:
        ValueError: for probabilities outside (0, 1], or lists of different lengths.
    """
    weights = _weights(values, probabilities)
    if not weights:
        return None
    total = sum(weights)
    mean = sum(weight * value for weight, value in zip(weights, values, strict=True)) / total
    away = [(weight, (value - mean) ** 2) for weight, value in zip(weights, values, strict=True)]
    n, effective = len(values), total * total / sum(weight * weight for weight in weights)
    drawn = sum((1 - 1 / weight) * weight * weight * far for weight, far in away) / (total * total) * n / max(1, n - 1)
    plain = sum(weight * far for weight, far in away) / total / effective
    half = NormalDist().inv_cdf((1 + level) / 2) * sqrt(max(drawn, plain))
    return Estimate(mean, max(0.0, mean - half), min(1.0, mean + half), n)


def horvitz_thompson(
    values: Sequence[float], probabilities: Sequence[float], population: int, level: float = 0.95
) -> Estimate | None:
    """The weighted mean over a population of known size, sum(y/p) / N; None without values.

    D. G. Horvitz and D. J. Thompson, Journal of the American Statistical Association 47, 1952; its variance for Poisson
    sampling is sum((1-p)/p^2 y^2) / N^2. It is exactly unbiased; `hajek` varies less.

    Raises:
        ValueError: as `hajek`, and for a population below 1.
    """
    if population < 1:
        raise ValueError("population must be at least 1")
    weights = _weights(values, probabilities)
    if not weights:
        return None
    mean = sum(weight * value for weight, value in zip(weights, values, strict=True)) / population
    spread = sum((1 - 1 / weight) * (weight * value) ** 2 for weight, value in zip(weights, values, strict=True))
    half = NormalDist().inv_cdf((1 + level) / 2) * sqrt(spread) / population
    return Estimate(mean, max(0.0, mean - half), mean + half, len(values))


def _weights(values: Sequence[float], probabilities: Sequence[float]) -> list[float]:
    if len(values) != len(probabilities) or not all(0 < one <= 1 for one in probabilities):
        raise ValueError("give one probability in (0, 1] for each value")
    return [1 / one for one in probabilities]


def stability(voters: Mapping[str, float], everybody: Mapping[str, float]) -> float:
    """Population stability index: how far the segments of ``voters`` are from those of ``everybody``; 0 is equal.

    sum((v - a) ln(v / a)) over shares, which is the symmetrised divergence of H. Jeffreys (1946). Each count gets a
    half more, so that an empty one is not infinitely far. By custom, below 0.1 is alike and above 0.2 is not.
    """
    groups = sorted({*voters, *everybody})
    some, all_of = ([counts.get(group, 0.0) + 0.5 for group in groups] for counts in (voters, everybody))
    shares = [(one / sum(some), other / sum(all_of)) for one, other in zip(some, all_of, strict=True)]
    return sum((one - other) * log(one / other) for one, other in shares)
