"""Run rules on z-scores: Western Electric 1-4 and Nelson 1-8.

Each rule is a condition on one point, such as "above +2 sigma", and "``needs`` of the newest ``of`` points meet it".
What it remembers is a history: one bit per point, the newest lowest, ``h = (2 h + flag) mod 2^of``. A missing
window adds no bit. The same recursion works where only numbers are at hand, as in PromQL; `Rule.modulus` and
`Rule.firing` are its constants.

Conventions, in the order in which they matter:

- A rule signals at the newest point, and only if that point itself meets the condition (Western Electric mark the
  point that completes the pattern). Two of three beyond 2 sigma and then a quiet point: one signal, not two.
- "Beyond" is strict: a point on a line has not passed it, and one on the centre line ends a run.
- Fewer than ``of`` points suffice: the first two beyond 2 sigma signal at the second.
- Rule 8 of Nelson asks for 8 points beyond 1 sigma on whichever side, not for both sides to occur.

Sources: Western Electric, *Statistical Quality Control Handbook* (1956); L. S. Nelson, "The Shewhart control chart:
tests for special causes", Journal of Quality Technology 16 (1984). Run lengths: `backspan.spc.runs_arl`.
All together they signal often: two-sided, all four of Western Electric every 92 windows, all eight of Nelson every
74. They open tickets; they do not page.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypedDict

from backspan.spc.points import Side, check_finite, check_side


@dataclass(frozen=True)
class Moment:
    """What a condition may look at: the newest ``z``, its step from the one before, and the step before that.

    A step is None while there is no point to measure it from.
    """

    z: float
    step: float | None = None
    step_before: float | None = None


@dataclass(frozen=True)
class Rule:
    """One rule on one side. ``name`` as in `shewhart` ("we_2", "nelson_5"); both sides of a rule share it.

    ``back`` is how many points before a flagged one take part in its flag: 1 for a step, 2 for a turn.
    """

    name: str
    text: str
    side: Side
    needs: int
    of: int
    flag: Callable[[Moment], bool] = field(repr=False, compare=False)
    back: int = 0

    @property
    def modulus(self) -> int:
        """``2 ** of``: a history is the remainder by it."""
        return 1 << self.of

    @property
    def firing(self) -> tuple[int, ...]:
        """The histories that signal, ascending: odd (the newest point is beyond) and with ``needs`` bits at least."""
        return tuple(h for h in range(1, self.modulus, 2) if self.fires(h))

    def push(self, history: int, flag: bool) -> int:
        """The history after one more point."""
        return (2 * history + flag) % self.modulus

    def fires(self, history: int) -> bool:
        """True if this history signals."""
        return bool(history & 1) and history.bit_count() >= self.needs


def _beyond(sign: int, distance: float) -> Callable[[Moment], bool]:
    return lambda m: sign * m.z > distance


def _steps(sign: int) -> Callable[[Moment], bool]:
    return lambda m: m.step is not None and sign * m.step > 0


def _turns(m: Moment) -> bool:
    if m.step is None or m.step_before is None:
        return False
    return m.step > 0 > m.step_before or m.step < 0 < m.step_before


def _two_sides(
    name: str, text: str, needs: int, of: int, make: Callable[[int], Callable[[Moment], bool]], back: int = 0
) -> tuple[Rule, Rule]:
    up, down = (Rule(name, text, side, needs, of, make(sign), back) for side, sign in _SIGNS)
    return up, down


_SIGNS: tuple[tuple[Side, int], ...] = (("up", 1), ("down", -1))

WESTERN_ELECTRIC: tuple[Rule, ...] = (
    *_two_sides("we_1", "1 point beyond 3 sigma", 1, 1, lambda sign: _beyond(sign, 3.0)),
    *_two_sides("we_2", "2 of 3 beyond 2 sigma, same side", 2, 3, lambda sign: _beyond(sign, 2.0)),
    *_two_sides("we_3", "4 of 5 beyond 1 sigma, same side", 4, 5, lambda sign: _beyond(sign, 1.0)),
    *_two_sides("we_4", "8 in a row on one side of the centre", 8, 8, lambda sign: _beyond(sign, 0.0)),
)
"""The zone tests, each for both sides."""

NELSON: tuple[Rule, ...] = (
    *_two_sides("nelson_1", "1 point beyond 3 sigma", 1, 1, lambda sign: _beyond(sign, 3.0)),
    *_two_sides("nelson_2", "9 in a row on one side of the centre", 9, 9, lambda sign: _beyond(sign, 0.0)),
    *_two_sides("nelson_3", "6 in a row steadily rising or falling", 5, 5, _steps, back=1),
    Rule("nelson_4", "14 in a row alternating up and down", "both", 12, 12, _turns, back=2),
    *_two_sides("nelson_5", "2 of 3 beyond 2 sigma, same side", 2, 3, lambda sign: _beyond(sign, 2.0)),
    *_two_sides("nelson_6", "4 of 5 beyond 1 sigma, same side", 4, 5, lambda sign: _beyond(sign, 1.0)),
    Rule("nelson_7", "15 in a row within 1 sigma", "both", 15, 15, lambda m: abs(m.z) < 1.0),
    Rule("nelson_8", "8 in a row beyond 1 sigma, either side", "both", 8, 8, lambda m: abs(m.z) > 1.0),
)
"""Nelson's eight tests. Tests 4, 7 and 8 know no direction: their side is "both"."""


def select(rules: Iterable[Rule], *names: str, side: Side = "both") -> tuple[Rule, ...]:
    """Those of ``rules`` with one of these names (default: all) that look at ``side``.

    For one side the rules without a direction are left out: none of them tells worse from better. Raises ValueError
    for an unknown name or side, or if nothing is left.
    """
    rules = tuple(rules)
    check_side(side)
    unknown = set(names) - {rule.name for rule in rules}
    if unknown:
        raise ValueError(f"unknown run rules: {', '.join(sorted(unknown))}")
    left = tuple(r for r in rules if (not names or r.name in names) and (side == "both" or r.side == side))
    if not left:
        raise ValueError(f"none of the run rules {', '.join(names)} has the side {side}")
    return left


class RunState(TypedDict):
    """The memory of `RunRules`, for JSON: the last z, the step to it, and one history per rule, in their order."""

    last: float | None
    step: float | None
    histories: list[int]


class RunRules:
    """The rules on one stream of z-scores, point by point. Not thread-safe.

    ``rules`` defaults to Western Electric on both sides. Raises ValueError for no rules, or a ``state`` that does not
    fit them.
    """

    __slots__ = ("_histories", "_last", "_step", "rules")

    def __init__(self, rules: Iterable[Rule] = WESTERN_ELECTRIC, *, state: RunState | None = None) -> None:
        self.rules = tuple(rules)
        if not self.rules:
            raise ValueError("run rules need at least one rule")
        self._last: float | None = None
        self._step: float | None = None
        self._histories = [0] * len(self.rules)
        if state is not None:
            self._restore(state)

    def _restore(self, state: RunState) -> None:
        histories = list(state["histories"])
        fits = len(histories) == len(self.rules)
        if not fits or not all(0 <= h < r.modulus for h, r in zip(histories, self.rules, strict=True)):
            raise ValueError("the state does not fit these run rules: it needs one history below its modulus for each")
        self._last, self._step, self._histories = state["last"], state["step"], histories

    @property
    def state(self) -> RunState:
        """A copy of the memory; give it back as ``state``."""
        return {"last": self._last, "step": self._step, "histories": list(self._histories)}

    def step(self, z: float) -> tuple[str, ...]:
        """Take the next z-score; the names of the rules that signal now, in the rules' order, each once.

        Raises ValueError if it is not finite; the state is then unchanged.
        """
        check_finite(z=z)
        moment = Moment(z, None if self._last is None else z - self._last, self._step)
        self._histories = [r.push(h, r.flag(moment)) for r, h in zip(self.rules, self._histories, strict=True)]
        self._last, self._step = z, moment.step
        return tuple(dict.fromkeys(rule.name for rule, _ in self.firing))

    @property
    def firing(self) -> tuple[tuple[Rule, int], ...]:
        """The rules that signal at the newest point, each with its history; a rule knows its side and its text."""
        return tuple((r, h) for r, h in zip(self.rules, self._histories, strict=True) if r.fires(h))


def signals(z: Iterable[float], rules: Iterable[Rule] = WESTERN_ELECTRIC) -> tuple[tuple[str, ...], ...]:
    """The names that signal at each point of a whole series, as `RunRules.step` would have said."""
    detector = RunRules(rules)
    return tuple(detector.step(value) for value in z)


def involved(z: Sequence[float], rules: Iterable[Rule] = WESTERN_ELECTRIC) -> Mapping[str, tuple[int, ...]]:
    """Per rule name, the positions (from 0) of all points that are part of one of its patterns: what a chart marks.

    Rules without a pattern are absent.
    """
    rules = tuple(rules)
    detector = RunRules(rules)
    marked: dict[str, set[int]] = {}
    for at, value in enumerate(z):
        detector.step(value)
        for rule, history in detector.firing:
            marked.setdefault(rule.name, set()).update(_positions(rule, history, at))
    return {name: tuple(sorted(marked[name])) for name in dict.fromkeys(r.name for r in rules) if name in marked}


def _positions(rule: Rule, history: int, at: int) -> set[int]:
    flagged = (at - age for age in range(rule.of) if history >> age & 1)
    return {position - back for position in flagged for back in range(rule.back + 1)}
