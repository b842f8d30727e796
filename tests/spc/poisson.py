"""How many alarms chance may bring."""

from __future__ import annotations

from math import exp


def poisson_quantile(mean: float, share: float) -> int:
    """Smallest k with P(X <= k) >= share for X Poisson(mean)."""
    k, term = 0, exp(-mean)
    total = term
    while total < share:
        k += 1
        term *= mean / k
        total += term
    return k
