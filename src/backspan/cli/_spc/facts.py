"""What is known about an incident: counts before and after the change point. Pure data, from a store or a Prometheus.

`backspan.cli._spc.stored` reads it from `backspan up`, `backspan.cli._spc.queried` from a Prometheus.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """``bad`` of ``n`` events."""

    n: float = 0.0
    bad: float = 0.0

    @property
    def rate(self) -> float:
        """Share of bad ones; 0 without events."""
        return self.bad / self.n if self.n else 0.0


Numbers = Mapping[str, float]


@dataclass(frozen=True)
class Pair:
    """The same counts before and after the change point."""

    before: Cell
    after: Cell


@dataclass(frozen=True)
class Facts:
    """All that is known. ``None`` and empty mappings: not known; what is nothing is 0.

    Pairs are (before, after). Numbers are counts but for ``tokens`` (means per call: input, output) and ``drift`` (a
    score). ``raters``, since the change point: known (bad votes with a rater), raters, top (bad votes of the busiest
    one), suspect; or only share (of all judgements, by the busiest one). ``calls``: n, errors, slow, truncated,
    refused. ``retrievals``: n, empty, weak. ``dimensions``: by OpenTelemetry key and value. ``changed``: keys of which
    a value came or went. ``worse_down``: a fall of the rate is what is worse.
    """

    rated: Pair | None = None
    answers: tuple[float, float] | None = None
    raters: Numbers = field(default_factory=dict[str, float])
    reasons: tuple[Numbers, Numbers] | None = None
    calls: tuple[Numbers, Numbers] | None = None
    retrievals: tuple[Numbers, Numbers] | None = None
    tokens: tuple[Numbers, Numbers] | None = None
    dimensions: Mapping[str, Mapping[str, Pair]] = field(default_factory=dict[str, "Mapping[str, Pair]"])
    drift: tuple[float, float] | None = None
    changed: frozenset[str] | None = None
    since: float | None = None
    before: tuple[float, float] | None = None
    after: tuple[float, float] | None = None
    traces: tuple[str, ...] = ()
    worse_down: bool = False
