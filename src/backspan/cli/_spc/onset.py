"""When a change began: the last moment at which a CUSUM for half as much again stood at zero before the alarm.

That moment is the maximum-likelihood estimate of the change point for this alternative (E. S. Page, Biometrika 41
(1954); D. M. Hawkins, D. H. Olwell, *Cumulative Sum Charts* (1998), 1.9), and `backspan up` says the same one.
"""

from __future__ import annotations

from collections.abc import Iterable

from backspan.cli._spc.history import Batch
from backspan.spc.shiryaev import Model

RATIO = 1.5


def onset(batches: Iterable[Batch], p0: float, model: Model, until: float, step: float) -> float | None:
    """Unix time from which the rate has been worse, looking at ``batches`` up to ``until``; None without any."""
    total, since, p1 = 0.0, None, model.alternative(p0, RATIO)
    for batch in batches:
        if batch.at > until:
            break
        if total == 0.0:
            since = batch.at - step
        total = max(0.0, total + model.llr(batch.n, batch.bad, p0, p1))
    return since
