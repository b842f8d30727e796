"""Alarms of a replayed history, as the alert rule would have shown them, and what an injected shift would have cost."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from math import exp, sqrt
from random import Random

from backspan.cli._spc.history import Batch, Cohort, History
from backspan.cli._spc.replay import Reading, Replay, moments, start_of
from backspan.rules.spec import Chart
from backspan.spc import phases
from backspan.spc.phases import LEARNING, Effective
from backspan.spc.shiryaev import CAP_ABOVE_LIMIT, P_MAX, Model


@dataclass
class Episode:
    """One alert: from ``fired`` to ``ended`` (None: it still fires at the end of the history)."""

    cohort: Cohort
    fired: float
    p0: float
    phase: str
    limit: float
    peak: float
    ended: float | None = None
    n: float = 0.0
    bad: float = 0.0
    """Events from when it fired until the evidence last was over its limit."""
    last_over: float = 0.0
    over: bool = True
    """Whether the newest evaluation with events still was over the limit."""

    def closed_by(self, at: float, chart: Chart) -> float | None:
        """When it ended, if it has by ``at``: held for ``keep_firing_for``, and over once nobody rates any more."""
        end = self.last_over + chart.keep_firing_for
        return end if end < at else None


class Watch:
    """Gathers episodes from readings; events while a cohort is paged on are the ones the promise counts."""

    def __init__(self, history: History) -> None:
        self._chart = history.chart
        self._open: dict[Cohort, Episode] = {}
        self._rated: dict[Cohort, float] = {}
        self.found: list[Episode] = []
        self.watched: dict[str, float] = {}
        self.learning: dict[str, float] = {}

    def see(self, reading: Reading) -> None:
        """Take the reading of one evaluation."""
        cohort, at = reading.cohort, reading.batch.at
        learning = reading.base is None or reading.base.phase == LEARNING
        book = self.learning if learning else self.watched
        book[cohort[0]] = book.get(cohort[0], 0.0) + reading.batch.n
        episode = self._open.get(cohort)
        if episode is not None:
            self._until(episode, self._rated.get(cohort, at), at)
            if episode.ended is not None:
                del self._open[cohort]
                episode = None
            else:
                episode.over = False
        self._rated[cohort] = at
        if reading.over and reading.evidence is not None:
            self._over(episode, reading, reading.evidence)

    def _until(self, episode: Episode, rated: float, at: float) -> None:
        """The alert lasts over evaluations without events, until ``idle_after`` the last rating."""
        if episode.over:
            episode.last_over = min(at, rated + self._chart.idle_after)
        episode.ended = episode.closed_by(at, self._chart)

    def _over(self, episode: Episode | None, reading: Reading, evidence: float) -> None:
        base, batch = reading.base, reading.batch
        if episode is None:
            assert base is not None
            episode = Episode(reading.cohort, batch.at, base.p0, base.phase, reading.limit, evidence)
            self._open[reading.cohort] = episode
            self.found.append(episode)
        episode.over = True
        episode.peak = max(episode.peak, evidence)
        episode.n += batch.n
        episode.bad += batch.bad
        episode.last_over = batch.at

    def end(self, until: float) -> list[Episode]:
        """All episodes, in order of time; those that are over by ``until`` are ended."""
        for cohort, episode in self._open.items():
            self._until(episode, self._rated.get(cohort, until), until)
        return sorted(self.found, key=lambda episode: (episode.fired, episode.cohort))


def poisson_tail(k: int, mean: float) -> float:
    """P(X >= k) for X Poisson(mean): how likely so many false alarms are if the promise is kept just so."""
    term, below = exp(-mean), 0.0
    for i in range(k):
        below += term
        term *= mean / (i + 1)
    return max(0.0, 1.0 - below)


# --- injected shifts ------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class Place:
    """Where a shift was injected: the cohort's state then, and what was rated from then on."""

    cohort: Cohort
    at: float
    base: Effective
    state: dict[str, object]


@dataclass(frozen=True)
class Delay:
    """How long one injected shift went on until the alarm; ``found`` is False if the history ended before."""

    place: Place
    events: float
    seconds: float
    found: bool


def places(history: History, wanted: list[Cohort], at: float | None, many: int, seed: int) -> dict[float, set[Cohort]]:
    """Moments at which shifts begin. ``at``: there, in every cohort; else ``many`` random ones, by seed.

    Random ones are drawn among the batches of the wanted cohorts in the first nine tenths of each one's history.
    """
    if at is not None:
        return {at: set(wanted)}
    random, found = Random(seed), dict[float, set[Cohort]]()
    pool = [(batch.at, cohort) for cohort in sorted(wanted)
            for batch in history.batches[cohort][: max(1, len(history.batches[cohort]) * 9 // 10)]]
    for moment, cohort in random.sample(pool, min(many, len(pool))):
        found.setdefault(moment, set()).add(cohort)
    return found


class Snapshots:
    """Takes the state of cohorts when their moment comes, while the history is replayed."""

    def __init__(self, wanted: dict[float, set[Cohort]]) -> None:
        self._wanted = sorted(wanted.items())
        self.taken: list[Place] = []
        self.refused: dict[str, int] = {"learning": 0, "alarm": 0}

    def before(self, replay: Replay, at: float) -> None:
        """Call before the evaluation at ``at`` takes its events."""
        while self._wanted and self._wanted[0][0] <= at:
            moment, cohorts = self._wanted.pop(0)
            for cohort in sorted(cohorts):
                self._take(replay, cohort, moment)

    def _take(self, replay: Replay, cohort: Cohort, at: float) -> None:
        life, base = replay.copy(cohort), replay.base_of(cohort)
        if life is None or base is None or base.phase == LEARNING:
            self.refused["learning"] += 1
        elif life.phase(base, replay.limit) == "alarm":
            self.refused["alarm"] += 1
        else:
            self.taken.append(Place(cohort, at, base, life.state))


def delay(replay: Replay, place: Place, batches: list[Batch], shift: float, rate: float, seed: int) -> Delay:
    """Inject a shift by the factor ``shift`` into ``batches`` from the place on, and wait for the alarm.

    ``rate`` is the cohort's rate over the history: each batch gets as many more (or fewer) bad events, at random, as
    bring that rate to ``shift`` times it. The baseline stays as it was, as it does in frozen and given phases.
    """
    chart = replay.chart
    life = phases.Cohort.from_state(chart.plan, place.state, replay.overrides.get(place.cohort))
    random = Random(f"{seed} {place.cohort} {place.at}")
    first = bisect_left(batches, place.at, key=lambda batch: batch.at)
    events = 0.0
    for batch in batches[first:]:
        bad = shifted(batch, shift, rate, chart.model, random)
        events += batch.n
        evidence = life.take(batch.n, bad, place.base, replay.limit + CAP_ABOVE_LIMIT)
        if evidence is not None and evidence >= replay.limit:
            return Delay(place, events, batch.at - place.at + replay.step, True)
    return Delay(place, events, (batches[-1].at if batches else place.at) - place.at, False)


def shifted(batch: Batch, shift: float, rate: float, model: Model, random: Random) -> float:
    """Bad events of ``batch`` after the rate has become ``shift`` times what it was."""
    if shift <= 1.0:
        return thinned(batch.bad, shift, random)
    if model.family == "poisson":
        return batch.bad + poisson_draw((shift - 1.0) * rate * batch.n, random)
    goal = min(shift * rate, P_MAX)
    return batch.bad + thinned(batch.n - batch.bad, max(0.0, (goal - rate) / (1.0 - rate)), random)


def thinned(count: float, chance: float, random: Random) -> float:
    """How many of ``count`` events stay if each does with ``chance``; a normal draw where they are very many."""
    if count > 10_000:
        return min(count, max(0.0, float(round(random.gauss(count * chance, sqrt(count * chance * (1 - chance)))))))
    return float(sum(random.random() < chance for _ in range(round(count))))


def poisson_draw(mean: float, random: Random) -> float:
    """A Poisson count: unit-rate arrivals before ``mean``; a normal draw where they are very many."""
    if mean > 1000:
        return max(0.0, float(round(random.gauss(mean, sqrt(mean)))))
    at, count = random.expovariate(1.0), 0
    while at < mean:
        at, count = at + random.expovariate(1.0), count + 1
    return float(count)


def replay_with(
    history: History, replay: Replay, watch: Watch, snapshots: Snapshots, told: Callable[[float], None]
) -> None:
    """Run the history through ``replay``, watching and taking snapshots on the way."""
    for at, batches in moments(history):
        replay.close_before(at)
        snapshots.before(replay, at)
        for cohort, batch in batches:
            watch.see(replay.take(cohort, batch))
        told(at)
    replay.close_before(start_of(history.until, history.chart.window, 0) + history.chart.window + history.step)
