"""PromQL of the panels: selectors narrowed by the dashboard's variables, sums, shares and their intervals.

Shares carry Wilson's score interval, counts per exposure the score interval of a Poisson rate, differences of shares
the interval of Agresti and Caffo (2000). All are for 95 % and need no more than the counts, so they hold for small n.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from backspan import semconv

VARIABLES: Mapping[str, str] = {
    "service": semconv.PROM_SERVICE,
    "environment": semconv.PROM_ENVIRONMENT,
    "prompt": semconv.prometheus_label(semconv.PROMPT_NAME),
    "version": semconv.prometheus_label(semconv.PROMPT_VERSION),
}
"""Variable of every dashboard -> label that it selects."""
MODEL = semconv.prometheus_label(semconv.REQUEST_MODEL)
INDEX = semconv.prometheus_label(semconv.INDEX_VERSION)
COHORT = ",".join(f'{label}=~"${name}"' for name, label in VARIABLES.items())
"""Matchers of the chosen cohort."""
PLACE = ",".join(f'{VARIABLES[name]}=~"${name}"' for name in ("service", "environment"))
"""Matchers for series without a prompt."""
WINDOW, RANGE, RATE = "$window", "$__range", "$__rate_interval"
"""Windows: chosen by the reader, the visible range, what Grafana finds right for a rate."""

CALLS = f"{semconv.prometheus_name(semconv.INFERENCE_DURATION, unit='s')}"
CHUNKS = f"{semconv.prometheus_name(semconv.INFERENCE_TIME_TO_FIRST_CHUNK, unit='s')}"
OPERATIONS = f"{semconv.prometheus_name(semconv.OPERATION_DURATION, unit='s')}"
"""Histograms of the conventions; a suffix is needed."""
FIRST = f'{semconv.LABEL_OP}="{semconv.ADD}"'
"""First judgements: a rater who changes their mind is one event."""
BY_USERS = f'{FIRST},{semconv.LABEL_SOURCE}="{semconv.END_USER}"'
BAD = f'{semconv.LABEL_POLARITY}="{semconv.NEGATIVE}"'

_Z = 1.96
_HALF, _WHOLE = f"{_Z**2 / 2:.4f}", f"{_Z**2:.4f}"
_QUARTER = f"{_Z**2 / 4:.4f}"


def matching(metric: str, *matchers: str) -> str:
    """``metric`` with the matchers that are not empty."""
    return f"{metric}{{{','.join(part for part in matchers if part)}}}"


def increase(metric: str, matchers: str = "", window: str = WINDOW, cohort: str = COHORT) -> str:
    """What a counter has grown by in ``window``, per series."""
    return f"increase({matching(metric, matchers, cohort)}[{window}])"


def total(expression: str, by: Iterable[str] = ()) -> str:
    """Sum over all series, or by labels."""
    labels = ", ".join(by)
    return f"sum by ({labels}) ({expression})" if labels else f"sum({expression})"


def count(metric: str, matchers: str = "", window: str = WINDOW, by: Iterable[str] = (), cohort: str = COHORT) -> str:
    """Events counted in ``window``."""
    return total(increase(metric, matchers, window, cohort), by)


def rate(metric: str, matchers: str = "", by: Iterable[str] = (), cohort: str = COHORT) -> str:
    """Events per second."""
    return total(f"rate({matching(metric, matchers, cohort)}[{RATE}])", by)


def quantile(q: float, histogram: str, matchers: str = "", by: Iterable[str] = (), cohort: str = COHORT) -> str:
    """A quantile of a histogram, as far as its buckets tell."""
    return f"histogram_quantile({q}, {rate(f'{histogram}_bucket', matchers, ('le', *by), cohort)})"


@dataclass(frozen=True)
class Share:
    """Bad events among n of the same kind; the expressions have the same labels.

    ``sparse``: there may be no series of bad events where there were none, which is then 0. Without, no series means
    that nobody counts them, and nothing is shown. The formulas name each expression as few times as they can: each is a
    read of the counters.
    """

    bad: str
    n: str
    sparse: bool = True

    @property
    def _bad(self) -> str:
        if not self.sparse:
            return self.bad
        return f"({self.bad} or {'vector(0)' if self.n.startswith('sum(') else f'0 * {self.n}'})"

    @property
    def rate(self) -> str:
        """The share; nothing where there is no whole event: `increase` makes fractions at the edge of a window."""
        return f"{self._bad} / ({self.n} >= 1)"

    @property
    def low(self) -> str:
        """Lower end of the interval."""
        return f"({self._bad} + {_HALF} - {self._spread}) / (({self.n} >= 1) + {_WHOLE})"

    @property
    def high(self) -> str:
        """Upper end of the interval."""
        return f"({self._bad} + {_HALF} + {self._spread}) / (({self.n} >= 1) + {_WHOLE})"

    @property
    def _spread(self) -> str:
        # `increase` extrapolates, so that for a moment there may be more bad events than events
        return f"{_Z} * sqrt(clamp_min({self._bad} - {self._bad} ^ 2 / {self.n}, 0) + {_QUARTER})"

    def above(self, base: Share) -> tuple[str, str, str]:
        """Difference to one other share, as lower end, estimate and upper end."""
        here, there = self._adjusted, f"scalar({base._adjusted})"
        spread = f"{_Z} * sqrt({self._variance} + scalar({base._variance}))"
        estimate = f"{self.rate} - scalar({base.rate})"
        return f"{here} - {there} - {spread}", estimate, f"{here} - {there} + {spread}"

    @property
    def _adjusted(self) -> str:
        """The share with one bad and one good event added."""
        return f"({self._bad} + 1) / ({self.n} + 2)"

    @property
    def _variance(self) -> str:
        return f"({self._bad} + 1) * clamp_min({self.n} - {self._bad} + 1, 0) / ({self.n} + 2) ^ 3"


@dataclass(frozen=True)
class PerUnit(Share):
    """Events per unit of exposure (answers, calls): there may be several for one unit."""

    @property
    def _spread(self) -> str:
        return f"{_Z} * sqrt({self._bad} + {_QUARTER})"

    @property
    def low(self) -> str:
        """Lower end of the interval."""
        return f"({self._bad} + {_HALF} - {self._spread}) / ({self.n} >= 1)"

    @property
    def high(self) -> str:
        """Upper end of the interval."""
        return f"({self._bad} + {_HALF} + {self._spread}) / ({self.n} >= 1)"


def negative(matchers: str, window: str = WINDOW, by: Iterable[str] = (), cohort: str = COHORT) -> Share:
    """The share of negative ones among the first judgements that ``matchers`` select."""
    of = f"{matchers},{FIRST}" if FIRST not in matchers else matchers
    by = tuple(by)
    return Share(count(semconv.PROM_FEEDBACK, f"{of},{BAD}", window, by, cohort),
                 count(semconv.PROM_FEEDBACK, of, window, by, cohort))


def failed(window: str = WINDOW, by: Iterable[str] = (), cohort: str = COHORT) -> Share:
    """The share of model calls that failed."""
    error, by = semconv.prometheus_label(semconv.ERROR_TYPE), tuple(by)
    return Share(count(f"{CALLS}_count", f'{error}!=""', window, by, cohort),
                 count(f"{CALLS}_count", "", window, by, cohort))


def coverage(window: str = WINDOW, by: Iterable[str] = (), cohort: str = COHORT) -> PerUnit:
    """First judgements of users per answer."""
    by = tuple(by)
    return PerUnit(count(semconv.PROM_FEEDBACK, BY_USERS, window, by, cohort),
                   count(semconv.PROM_ANSWERS, "", window, by, cohort))
