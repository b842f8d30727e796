"""The arms of a canary in Python: what they have counted, what that says, and the split of the traffic between them.

The mathematics is that of `backspan.spc.sequential` and `backspan.spc.split`; which indicator is compared how, that of
`backspan.rules.canary`. The oracle and the embedded server both feed it with what is new since the last evaluation.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from math import sqrt
from typing import Any

from backspan.rules import canary as rules
from backspan.rules import canary_kinds as kinds
from backspan.rules import canary_split as split
from backspan.rules.canary_alert import IDLE
from backspan.rules.indicators import INDICATORS, Indicator
from backspan.rules.oracle_counting import Labels
from backspan.rules.spec import Canary, Spec
from backspan.spc.sequential import Arm, half_width, log_mixture, variance
from backspan.spc.split import log_split

Group = Labels
"""What the arms of one comparison share: the labels of ``within``, without empty ones."""
Key = tuple[str, Group, str]
"""An arm: indicator, group and variant."""


@dataclass
class Sums:
    """Events of one arm: all, bad ones, evaluations with any, and the sum of ``bad^2 / n`` over these."""

    n: float = 0.0
    bad: float = 0.0
    k: int = 0
    xx: float = 0.0

    def add(self, n: float, bad: float) -> None:
        """Take what arrived with one evaluation."""
        self.n += n
        self.bad += bad
        self.k += n > 0
        self.xx += bad * bad / (n or 1.0)


@dataclass
class _Arm:
    since: float
    at: float
    own: Sums = field(default_factory=Sums)
    control: Sums = field(default_factory=Sums)

    @classmethod
    def from_state(cls, since: float, at: float, own: Mapping[str, Any], control: Mapping[str, Any]) -> _Arm:
        """As `asdict` gave it."""
        return cls(since, at, Sums(**own), Sums(**control))


@dataclass(frozen=True)
class Row:
    """What one arm shows: a field for each recorded series ``spc:canary_<field>``; None where there is none.

    The control has counts only. ``alarm`` is the alert's condition.
    """

    n: float
    bad: float
    rate: float
    since: float
    control_n: float | None = None
    control_bad: float | None = None
    control_rate: float | None = None
    difference: float | None = None
    half_width: float | None = None
    evidence: float | None = None
    limit: float | None = None
    verdict: str | None = None
    alarm: bool = False


class Arms:
    """All arms of one canary. Call `step` once per evaluation; one at which nothing arrives may be left out."""

    def __init__(self, canary: Canary, state: list[Any] | None = None) -> None:
        self._canary = canary
        self._arms: dict[Key, _Arm] = {
            (name, _group(group), variant): _Arm.from_state(**arm) for name, group, variant, arm in state or []}

    @property
    def state(self) -> list[Any]:
        """A copy of what is known, for JSON."""
        return [[name, [list(pair) for pair in group], variant, asdict(arm)]
                for (name, group, variant), arm in self._arms.items()]

    def step(self, at: float, arrived: Mapping[Key, tuple[float, float]]) -> dict[Key, Row]:
        """Take the new (n, bad) of each arm; every arm that is compared after the evaluation at ``at``."""
        for key in [key for key, arm in self._arms.items() if arm.at <= at - self._canary.forget_after]:
            del self._arms[key]
        for key, (n, _) in arrived.items():
            if n > 0:
                self._arms.setdefault(key, _Arm(at, at)).at = at
        for key, arm in self._arms.items():
            self._take(key, arm, arrived, at)
        return {key: self._row(key, arm, at) for key, arm in self._arms.items() if arm.own.n}

    def _take(self, key: Key, arm: _Arm, arrived: Mapping[Key, tuple[float, float]], at: float) -> None:
        name, group, _ = key
        if kinds.settles(INDICATORS[name]) and arm.since > at - kinds.SETTLE:
            return
        arm.own.add(*arrived.get(key, (0.0, 0.0)))
        arm.control.add(*arrived.get((name, group, self._canary.control), (0.0, 0.0)))

    def _row(self, key: Key, arm: _Arm, at: float) -> Row:
        own, control, limit = arm.own, arm.control, rules.limit(self._canary)
        rate = own.bad / own.n
        if key[2] == self._canary.control:
            return Row(own.n, own.bad, rate, arm.since)
        if not control.n:
            return Row(own.n, own.bad, rate, arm.since, control.n, control.bad,
                       evidence=0.0, limit=limit, verdict="continue")
        d, one = rate - control.bad / control.n, INDICATORS[key[0]]
        found = _compared(one, own, control, self._canary.difference, limit)
        evidence, half, tau = found if found else (0.0, None, 0.0)
        verdict = self._verdict(one, arm, d, evidence, limit, half is not None and abs(d) + half < tau)
        return Row(own.n, own.bad, rate, arm.since, control.n, control.bad, control.bad / control.n, d, half,
                   evidence, limit, verdict, verdict == "worse" and arm.at > at - IDLE)

    def _verdict(self, one: Indicator, arm: _Arm, d: float, evidence: float, limit: float, same: bool) -> str:
        enough = min(arm.own.n, arm.control.n) >= self._canary.min_n
        if not enough or (kinds.must_be_sent(one) and not (arm.own.bad and arm.control.bad)):
            return "continue"
        if evidence >= limit and d:
            return "worse" if (d > 0) != one.falls else "better"
        return "no_difference_yet" if same else "continue"


def _compared(
    one: Indicator, own: Sums, control: Sums, difference: float, limit: float
) -> tuple[float, float, float] | None:
    """Evidence, half of the interval, and tau; None as long as the dispersion is not known."""
    pooled = (own.bad + control.bad) / (own.n + control.n)
    phi = _dispersion(one, own, control, pooled) if kinds.clustered(one) else 1.0
    tau = difference * pooled if kinds.relative(one) else difference
    if not phi or not tau:
        return None
    a, b, family = Arm(own.n, own.bad), Arm(control.n, control.bad), one.model.family
    s2 = phi * variance(a, b, family)
    wide = phi * max(_spread(one, a, b, pooled), _apart(one, a) + _apart(one, b))
    d = a.x / a.n - b.x / b.n
    return log_mixture(d, s2, tau), half_width(wide, tau, limit), tau


def _dispersion(one: Indicator, own: Sums, control: Sums, pooled: float) -> float | None:
    free = own.k + control.k - 2
    if free < kinds.LEAST_BATCHES or not pooled:
        return None
    squares = sum(arm.xx - arm.bad * arm.bad / arm.n for arm in (own, control))
    phi = squares / free / pooled
    return phi if kinds.relative(one) else max(phi, 1.0)


def _spread(one: Indicator, a: Arm, b: Arm, pooled: float) -> float:
    return (pooled if one.kind == "rate" else pooled * (1.0 - pooled)) * (1.0 / a.n + 1.0 / b.n)


def _apart(one: Indicator, arm: Arm) -> float:
    """Variance of one arm's own rate after half an event on either outcome."""
    if one.kind == "rate":
        return (arm.x + 0.5) / arm.n**2
    n = arm.n + 1.0
    return (arm.x + 0.5) * (arm.n - arm.x + 0.5) / n**3


@dataclass
class _Hours:
    """Answers of one group: by variant over all hours, their squares over the hour's answers, and hours."""

    n: dict[str, float]
    nn: dict[str, float]
    windows: int = 0


class Traffic:
    """The sample-ratio check of one canary. Call `step` as `Arms.step`, and at the end of every hour."""

    def __init__(self, spec: Spec, canary: Canary, state: Mapping[str, Any] | None = None) -> None:
        self._spec, self._canary = spec, canary
        fits = state is not None and state["expect"] == split.expected(canary)
        said: Mapping[str, list[Any]] = state if state and fits else {"recent": [], "hours": [], "last": []}
        self._recent: list[tuple[float, Group, str, float]] = [
            (at, _group(group), variant, n) for at, group, variant, n in said["recent"]]
        self._hours: dict[Group, _Hours] = {_group(group): _Hours(**hours) for group, hours in said["hours"]}
        self._last: dict[Group, tuple[float, float]] = {_group(group): (at, value) for group, at, value in said["last"]}

    @property
    def state(self) -> dict[str, Any]:
        """A copy of what is known, for JSON."""
        return {
            "expect": split.expected(self._canary),
            "recent": [[at, [list(pair) for pair in group], variant, n] for at, group, variant, n in self._recent],
            "hours": [[[list(pair) for pair in group], asdict(hours)] for group, hours in self._hours.items()],
            "last": [[[list(pair) for pair in group], *last] for group, last in self._last.items()],
        }

    def ends(self, at: float) -> bool:
        """Tell whether an hour ends with the evaluation at ``at``."""
        return at % split.WINDOW < self._spec.interval

    def step(self, at: float, arrived: Mapping[tuple[Group, str], float]) -> dict[Group, float]:
        """Take new answers by group and variant. Evidence against the expected shares, of every group whose hour ends
        now and that has enough hours."""
        expected = dict(self._canary.expect)
        self._recent += [(at, *arm, n) for arm, n in arrived.items() if n and arm[1] in expected]
        self._recent = [one for one in self._recent if one[0] > at - split.WINDOW + 0.5]
        if not self.ends(at):
            return {}
        groups = dict.fromkeys(group for _, group, _, _ in self._recent)
        found = {group: value for group in groups if (value := self._close(group)) is not None}
        self._last.update({group: (at, value) for group, value in found.items()})
        return found

    def firing(self, at: float) -> dict[Group, float]:
        """Evidence of the groups for which the alert's condition holds at ``at``."""
        since = at - split.reach(self._spec)
        return {group: value for group, (then, value) in self._last.items()
                if then > since and value >= split.limit()}

    def _close(self, group: Group) -> float | None:
        point = defaultdict[str, float](float)
        for _, where, variant, n in self._recent:
            point[variant] += n if where == group else 0.0
        total = sum(point.values())
        names = [name for name, _ in self._canary.expect]
        seen = self._hours.setdefault(group, _Hours(dict.fromkeys(names, 0.0), dict.fromkeys(names, 0.0)))
        for variant, n in point.items():
            seen.n[variant] += n
            seen.nn[variant] += n * n / total
        seen.windows += 1
        if seen.windows < split.LEAST_WINDOWS:
            return None
        phi = self._scatter(seen)
        return log_split([n / phi for n in seen.n.values()], [share for _, share in self._canary.expect])  # pyright: ignore[reportArgumentType]

    @staticmethod
    def _scatter(seen: _Hours) -> float:
        total, free = sum(seen.n.values()), (seen.windows - 1) * (len(seen.n) - 1)
        chi2 = sum((seen.nn[v] - n * n / total) / (n / total) for v, n in seen.n.items() if n)
        return max(chi2 / free * (1 + 2 * sqrt(2 / free)), 1.0)


def _group(pairs: list[list[str]]) -> Group:
    return tuple((key, value) for key, value in pairs)
