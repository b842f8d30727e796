"""Sample-ratio check: did the variants get the shares of traffic that they were meant to get?

If not, the comparison of their rates is void: the assignment, the logging or a crash has chosen who is counted. Count
what was *assigned* (sessions or raters), not their calls or ratings: these are not independent, and a variant can
change their number.

Two readings of the same counts. Pearson's chi-square (`chi_square`) for one look at the end. The Bayes factor of any
split against the expected one (`log_bayes_factor`) for a look at any time: if the split is as expected it exceeds
1 / alpha at any look with probability at most alpha. It depends on the counts only; `log_split` is its closed form for
PromQL, which has no ln-gamma.

Sources: M. Lindon, A. Malek, "Anytime-valid inference for multinomial count data", NeurIPS 35 (2022); A. Fabijan and
others, "Diagnosing sample ratio mismatch in online controlled experiments", KDD (2019). Chi-square tail:
M. Abramowitz, I. Stegun, *Handbook of Mathematical Functions*, 26.4.4 and 26.4.5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import erfc, exp, fsum, isfinite, lgamma, log, pi, sqrt

ALPHA = 0.001
"""Chance, over all looks together, of calling a split wrong that is right. Small: a mismatch voids the experiment."""
CONCENTRATION = 1_000.0
"""Weight of the expected split in the prior, in units: it looks for shares s off by about sqrt(s (1 - s) / 1000)."""


@dataclass(frozen=True)
class SplitCheck:
    """What `check_split` found."""

    mismatch: bool
    """True once ``evidence`` has reached ``limit``. The counts do not remember: whoever acts on it keeps it."""
    evidence: float
    """ln of the Bayes factor: valid at every look."""
    limit: float
    """``ln(1 / alpha)``."""
    chi2: float
    p_value: float
    """Of ``chi2``. Valid for one look that was fixed beforehand; looked at often it is too small too often."""
    counts: tuple[int, ...]
    expected: tuple[float, ...]
    """Expected shares, summing to 1."""


def chi_square_tail(x: float, df: int) -> float:
    """P(X >= x) for X chi-square with ``df`` degrees of freedom, exact up to rounding.

    Raises ValueError unless x >= 0 and df >= 1.
    """
    if df < 1 or not x >= 0:
        raise ValueError(f"a chi-square tail needs x >= 0 and df >= 1, got x={x}, df={df}")
    if df % 2:
        total, term, start = erfc(sqrt(x / 2)), sqrt(2 * x / pi) * exp(-x / 2), 3
    else:
        total, term, start = exp(-x / 2), exp(-x / 2) * x / 2, 4
    for k in range(start, df + 1, 2):
        total, term = total + term, term * x / k
    return min(1.0, total)


def shares(weights: Sequence[float]) -> tuple[float, ...]:
    """Expected shares from weights such as (99, 1). Raises ValueError unless there are two or more, all above 0."""
    if len(weights) < 2 or not all(w > 0 and isfinite(w) for w in weights):
        raise ValueError(f"a split needs two or more weights above 0, got {tuple(weights)}")
    total = fsum(weights)
    return tuple(w / total for w in weights)


def chi_square(counts: Sequence[int], expected: Sequence[float]) -> float:
    """Pearson's ``sum (count - n share)^2 / (n share)``; 0 before the first unit. Raises ValueError for a bad split."""
    parts, n = shares(expected), _total(counts, expected)
    return fsum((c - n * s) ** 2 / (n * s) for c, s in zip(counts, parts, strict=True)) if n else 0.0


def log_bayes_factor(counts: Sequence[int], expected: Sequence[float], concentration: float = CONCENTRATION) -> float:
    """ln of the Dirichlet-multinomial likelihood of the assignments over that under the expected shares.

    With prior weights ``a_i = concentration * share_i``::

        ln G(sum a) - ln G(sum a + n) + sum (ln G(a_i + n_i) - ln G(a_i)) - sum n_i ln share_i

    (G the gamma function; the multinomial coefficient is on both sides and cancels).
    Raises ValueError for counts below 0, another number of counts than shares, or a concentration not above 0.
    """
    parts, n = shares(expected), _total(counts, expected)
    if not (concentration > 0 and isfinite(concentration)):
        raise ValueError(f"a concentration must be above 0, got {concentration}")
    each = (
        lgamma(concentration * s + c) - lgamma(concentration * s) - c * log(s)
        for c, s in zip(counts, parts, strict=True)
    )
    return lgamma(concentration) - lgamma(concentration + n) + fsum(each)


def log_split(counts: Sequence[int], expected: Sequence[float], concentration: float = CONCENTRATION) -> float:
    """`log_bayes_factor` with the normal distribution in place of the multinomial and the Dirichlet: + - * / ln only.

    With m = concentration + 1, n units, k variants: ``(k - 1) / 2 * ln(m / (m + n)) + chi2 / 2 * n / (m + n)``. The
    Dirichlet's variance is that of the multinomial with n = m, which makes this the mixture of
    `backspan.spc.sequential.log_mixture` in k - 1 dimensions. Close to the exact one where every variant expects tens
    of units; below, use the exact one.
    """
    if not (concentration > 0 and isfinite(concentration)):
        raise ValueError(f"a concentration must be above 0, got {concentration}")
    n, m = _total(counts, expected), concentration + 1.0
    return (len(counts) - 1) / 2 * log(m / (m + n)) + chi_square(counts, expected) / 2 * n / (m + n)


def check_split(
    counts: Sequence[int],
    expected: Sequence[float],
    *,
    alpha: float = ALPHA,
    concentration: float = CONCENTRATION,
) -> SplitCheck:
    """Check the units assigned to each variant against the expected shares (weights such as (99, 1) will do).

    Raises ValueError for a bad split (`shares`, `log_bayes_factor`) or alpha outside 0 < alpha < 1.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie between 0 and 1, got {alpha}")
    evidence, limit = log_bayes_factor(counts, expected, concentration), -log(alpha)
    chi2 = chi_square(counts, expected)
    p_value = chi_square_tail(chi2, len(counts) - 1)
    return SplitCheck(evidence >= limit, evidence, limit, chi2, p_value, tuple(counts), shares(expected))


def _total(counts: Sequence[int], expected: Sequence[float]) -> int:
    if len(counts) != len(expected) or not all(c >= 0 for c in counts):
        raise ValueError(f"a split needs one count >= 0 per share, got {tuple(counts)} for {tuple(expected)}")
    return sum(counts)
