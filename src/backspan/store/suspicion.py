"""Which votes look like spam or stuffing: rules over the newest votes, without a database and without a clock.

Each rule is about one person's votes, so votes without a rater are never suspected: they are what their token's limits
let through. What a rule finds is held, not deleted (`backspan.store.guards`), and a person can let it go.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from math import inf
from typing import Any, Final

from backspan import semconv

FAST, BURST, ONE_SIDED, COMMENT, INFLUENCE = "fast", "burst", "one_sided", "comment", "influence"
RULES: Final = (FAST, BURST, ONE_SIDED, COMMENT, INFLUENCE)
BY_HAND: Final = "by_hand"
"""In place of a rule: a person held it."""

_HOUR, _DAY = 3600.0, 86400.0
_MOST_PEOPLE, _MOST_VOTES, _MOST_COMMENTS = 20_000, 256, 500
_SURE: Final = 1e-6
"""A one-sided voter is suspected if chance would make one as one-sided as this seldom."""
_SHORTEST: Final = 12
"""Characters of a comment below which equal ones mean nothing: "thank you"."""
_ALIKE: Final = 90.0
"""RapidFuzz's `token_set_ratio` from which comments are the same."""


@dataclass(frozen=True)
class Rules:
    """Limits of the rules; 0 switches a rule off.

    Attributes:
        fast: votes of one person in an hour that came within a second of the answer's beginning: all of them.
        burst: votes of one person in a minute: all of them.
        one_sided: votes of one person in a week that are all of one polarity, if that is not how everybody votes: the
            probability of it under everybody's shares is below one in a million. All of them.
        comment: persons who gave the same comment within a day: all of these votes.
        influence: votes of one person in a day that count; those beyond.
    """

    fast: int = 3
    burst: int = 20
    one_sided: int = 20
    comment: int = 3
    influence: int = 100

    @cached_property
    def least(self) -> float:
        """Votes of one person below which no rule but that of comments can find anything."""
        return min((n for n in (self.fast, self.burst, self.one_sided, self.influence) if n), default=inf)


def rules_of(words: Iterable[str]) -> Rules | None:
    """The rules as a setting says them (``burst=50``, ``fast=off``); None for ``off``. Unknown words mean nothing."""
    said = [word.partition("=")[::2] for word in words]
    if ("off", "") in said:
        return None
    known = {one.name for one in fields(Rules)}
    return Rules(**{key: 0 if value == "off" else int(value) for key, value in said
                    if key in known and (value == "off" or value.isdigit())})


@dataclass
class _Person:
    votes: deque[tuple[float, str, str, bool]] = field(
        default_factory=lambda: deque[tuple[float, str, str, bool]](maxlen=_MOST_VOTES))
    """Time, vote, polarity, and whether it was fast."""


@dataclass
class Suspicion:
    """What is remembered of the newest votes, of a bounded number of persons."""

    rules: Rules
    _people: OrderedDict[str, _Person] = field(default_factory=OrderedDict[str, _Person])
    _comments: deque[tuple[float, str, str, str]] = field(
        default_factory=lambda: deque[tuple[float, str, str, str]](maxlen=_MOST_COMMENTS))
    _sides: dict[str, int] = field(default_factory=lambda: dict.fromkeys(semconv.POLARITIES, 1))

    def observe(self, vote: Mapping[str, Any]) -> dict[str, str]:
        """Take in one vote: ``id``, ``rater``, ``time``, ``began`` (of the answer, or None), ``polarity``, ``comment``.

        Returns what is suspected now: vote -> rule. It may name votes that were taken in before.
        """
        rater = vote["rater"]
        if rater is None:
            return {}
        person = self._people.get(rater)
        if person is None:
            person = self._people[rater] = _Person()
        self._people.move_to_end(rater)
        if len(self._people) > _MOST_PEOPLE:
            self._people.popitem(last=False)
        fast = vote["began"] is not None and vote["time"] - vote["began"] < 1.0
        known = next((one for one in person.votes if one[1] == vote["id"]), None)
        if known is not None:  # a changed mind is no second vote
            person.votes.remove(known)
        else:
            self._sides[vote["polarity"]] += 1
        person.votes.append((vote["time"], vote["id"], vote["polarity"], fast))
        if len(person.votes) < self.rules.least:
            return self._same_comment(vote)
        found = {**self._influence(person), **self._one_sided(person), **self._burst(person), **self._fast(person)}
        return {**found, **self._same_comment(vote)}

    def _fast(self, person: _Person) -> dict[str, str]:
        votes = [id for time, id, _, fast in person.votes if fast and time > person.votes[-1][0] - _HOUR]
        return dict.fromkeys(votes, FAST) if 0 < self.rules.fast <= len(votes) else {}

    def _burst(self, person: _Person) -> dict[str, str]:
        votes = [id for time, id, _, _ in person.votes if time > person.votes[-1][0] - 60]
        return dict.fromkeys(votes, BURST) if 0 < self.rules.burst <= len(votes) else {}

    def _influence(self, person: _Person) -> dict[str, str]:
        votes = [id for time, id, _, _ in person.votes if time > person.votes[-1][0] - _DAY]
        return dict.fromkeys(votes[self.rules.influence:], INFLUENCE) if self.rules.influence else {}

    def _one_sided(self, person: _Person) -> dict[str, str]:
        votes = [(id, side) for time, id, side, _ in person.votes if time > person.votes[-1][0] - 7 * _DAY]
        sides = {side for _, side in votes}
        if not self.rules.one_sided or len(votes) < self.rules.one_sided or len(sides) > 1:
            return {}
        (side,), own = sides, len(votes)
        others = sum(self._sides.values()) - own
        share = max(self._sides[side] - own, 1) / max(others, 1)
        return dict.fromkeys((id for id, _ in votes), ONE_SIDED) if min(share, 1.0) ** own < _SURE else {}

    def _same_comment(self, vote: Mapping[str, Any]) -> dict[str, str]:
        said = " ".join((vote["comment"] or "").casefold().split())
        if not self.rules.comment or len(said) < _SHORTEST:
            return {}
        from rapidfuzz import fuzz, process  # of the extra `server`

        texts = [text for *_, text in self._comments]
        found = process.extract(said, texts, scorer=fuzz.token_set_ratio, score_cutoff=_ALIKE, limit=None)
        near = [self._comments[at] for at in sorted(at for *_, at in found)]
        alike = [(rater, id) for time, rater, id, _ in near if time > vote["time"] - _DAY]
        self._comments.append((vote["time"], vote["rater"], vote["id"], said))
        alike.append((vote["rater"], vote["id"]))
        if len({rater for rater, _ in alike}) < self.rules.comment:
            return {}
        return dict.fromkeys((id for _, id in alike), COMMENT)
