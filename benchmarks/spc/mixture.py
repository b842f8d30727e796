"""The detector of `backspan.spc.shiryaev` with numpy: many runs, and many limits, at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from benchmarks.spc.simulate import P0, PER_HOUR, Ratings

from backspan.spc.shiryaev import ALTERNATIVES, CAP_ABOVE_LIMIT, alternative_rate

N_REF = 10


class Mixture:
    """Evidence at many limits for ln R at once, each begun anew after each of its alarms.

    numpy only makes it fast: a test compares it with the detector itself.
    """

    per_hour = PER_HOUR

    def __init__(self, limits: Sequence[float]) -> None:
        self._limits = np.exp(np.asarray(limits, float))[:, None]
        rates = [(r, alternative_rate(P0, r)) for r in ALTERNATIVES]
        self._worse = np.array([np.log(p1 / P0) for _, p1 in rates])
        self._better = np.array([np.log((1 - p1) / (1 - P0)) for _, p1 in rates])

    def alarms(self, ratings: Ratings) -> np.ndarray:
        """Whether each limit is reached: shape (limits, runs, evaluations)."""
        n, bad = ratings.every(60 // PER_HOUR)
        state = np.zeros((len(self._limits), *n.shape[:1], len(ALTERNATIVES)))
        out = np.zeros((len(self._limits), *n.shape), bool)
        cap = self._limits[..., None] * np.exp(CAP_ABOVE_LIMIT)
        for step in range(n.shape[1]):
            state = np.minimum(self._next(state, n[:, step], bad[:, step]), cap)
            rings = state.mean(-1) >= self._limits
            out[..., step] = rings
            state[rings] = 0.0
        return out

    def highest(self, ratings: Ratings) -> np.ndarray:
        """Largest ln R so far, shape (runs, evaluations), without a restart: first alarms for any limit."""
        n, bad = ratings.every(60 // PER_HOUR)
        state, out = np.zeros((1, len(n), len(ALTERNATIVES))), np.empty(n.shape)
        for step in range(n.shape[1]):
            state = np.minimum(self._next(state, n[:, step], bad[:, step]), 1e300)
            out[:, step] = state[0].mean(-1)
        with np.errstate(divide="ignore"):
            return np.maximum.accumulate(np.log(out), axis=1)

    def _next(self, state: np.ndarray, n: np.ndarray, bad: np.ndarray) -> np.ndarray:
        llr = bad[:, None] * self._worse + (n - bad)[:, None] * self._better
        return (state + n[:, None] / N_REF) * np.exp(llr)
