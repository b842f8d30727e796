"""What one chart recorded in a live Prometheus, against what the Python oracle says of the samples stored there.

The comparison is exact because nothing is assumed about moments. The raw samples and the times of the evaluations are
read back. An evaluation that Prometheus missed (on a busy machine it leaves out one whose predecessor still runs) is
missed by the oracle too. Two things the range query of the API does not show are put back:

- *Stale markers.* Prometheus writes one for every series that a scrape no longer finds, at the time of that scrape.
  When scrapes were is told by the series ``up``.
- *Samples that were still on their way.* A sample's time is the beginning of its scrape (or when the SDK collected
  it), and a rule that runs some milliseconds later may not see it yet. Which value a rule saw is told by the chart's
  own snapshot (``seen``): a sample younger than `LATE_S` that it does not show is given to the oracle just after that
  evaluation. Only the moment is taken from there, never a value.

Left out is the evidence of a cohort at an evaluation that did not store all of its parts; see `torn`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import asdict

from tests.support.prometheus import OLD, History, Labels, Prometheus, labels_of, named

from backspan import semconv
from backspan.rules import series
from backspan.rules.oracle import Oracle, Row
from backspan.rules.oracle_counting import STALE
from backspan.rules.promtool import TOLERANCE
from backspan.rules.spec import Chart, Spec

LATE_S = 1.95
"""Oldest sample that a rule may miss because it was on its way: less than two intervals of 1 s, for a busy machine."""
_JUST_AFTER_S = 0.001
Stream = list[tuple[float, float | None]]
_Key = tuple[str, Labels]


class Recorded:
    """The history of one chart in one server up to Unix time ``until``, read once."""

    def __init__(self, server: Prometheus, spec: Spec, chart: Chart, until: float) -> None:
        self._spec, self.chart = spec, chart
        self.series: dict[_Key, dict[float, float]] = {}
        for name in (f'{{__name__=~"spc:.*",chart="{chart.name}"}}', f'ALERTS{{chart="{chart.name}"}}'):
            self.series.update(_by_name(server.history(name, until)))
        snapshots = _by_name(server.history(series.raw(chart.name, "seen"), until))
        self.seen = {labels: values for (_, labels), values in snapshots.items()}
        everything = [*self.series.values(), *self.seen.values()]
        self.times = sorted({at for values in everything for at in values})
        self.streams = _streams(server, until, self.times, self.seen, spec.interval)

    @property
    def missed(self) -> int:
        """Evaluations that should have been between the first and the last."""
        return round((self.times[-1] - self.times[0]) / self._spec.interval) + 1 - len(self.times)

    def total(self, name: str, **labels: str) -> float:
        """Sum over time of all series ``name`` with ``labels``."""
        found = [v for (n, key), v in self.series.items() if n == name and labels.items() <= dict(key).items()]
        return sum(sum(values.values()) for values in found)

    def alarms(self) -> list[float]:
        """Times of the evaluations with a firing alert."""
        firing = [values for (name, labels), values in self.series.items() if name == "ALERTS" and _PAGING <= {*labels}]
        return sorted({at for values in firing for at in values})

    def differences(self) -> list[str]:
        """Where a recorded series, or an alarm, is not what the oracle says; empty if nowhere."""
        oracle = Oracle(self._spec, self.chart, self.streams)
        wrong: list[str] = []
        open_before: set[Labels] = set()
        for at in self.times:
            rows = oracle.step(at)
            expected, found = self._expected(rows), self._found(at)
            wrong += [f"{at:.3f} {_show(key)}: {found.get(key)}, oracle {expected.get(key)}"
                      for key in sorted({*expected, *found})
                      if not _same(expected.get(key), found.get(key))
                      and not (key[0] == _EVIDENCE and torn(self.series, self.times, at, key[1]))]
            signalled, is_open = self._signalled(rows), self._open(at)
            wrong += [f"{at:.3f} ticket {labels}: not opened" for labels in signalled - is_open]
            wrong += [f"{at:.3f} ticket {labels}: opened by nothing" for labels in is_open - open_before - signalled]
            open_before = is_open
        return wrong

    def _signalled(self, rows: dict[tuple[str, Labels], Row]) -> set[Labels]:
        """Tickets of one evaluation; they then stay open for a while."""
        return {
            labels_of({series.CHART: self.chart.name, series.PARTITION: partition, **dict(labels), series.RULE: rule})
            for (partition, labels), row in rows.items() for rule in row.tickets
        }

    def _open(self, at: float) -> set[Labels]:
        return {
            _without(labels, _OF_THE_ALERT)
            for (name, labels), values in self.series.items()
            if name == "ALERTS" and _TICKET <= {*labels} and at in values
        }

    def _expected(self, rows: dict[tuple[str, Labels], Row]) -> dict[_Key, float]:
        out: dict[_Key, float] = {}
        for (partition, labels), row in rows.items():
            cohort = {series.CHART: self.chart.name, series.PARTITION: partition, **dict(labels)}
            for field, value in asdict(row).items():
                if value is not None and field not in ("alarm", "tickets", "missing", "phase"):
                    out[f"spc:{field}", labels_of(cohort)] = value
            out[series.PHASE_SERIES, labels_of({**cohort, series.PHASE: row.phase})] = 1.0
            if row.alarm:
                out[series.ALERT, labels_of(cohort)] = 1.0
        return out

    def _found(self, at: float) -> dict[_Key, float]:
        out: dict[_Key, float] = {}
        for (name, labels), values in self.series.items():
            if at not in values:
                continue
            if name in _ROW:
                out[name, labels] = values[at]
            elif name == "ALERTS" and _PAGING <= {*labels}:
                out[series.ALERT, _without(labels, _OF_THE_ALERT)] = values[at]
        return out


_EVIDENCE, _PART = "spc:sr", "spc:sr_alt"
_ROW = {f"spc:{field}" for field in Row.__dataclass_fields__} - {"spc:alarm", "spc:tickets"}
_PAGING = {("alertname", series.ALERT), ("alertstate", "firing")}
_TICKET = {("alertname", series.ALERT_SHIFT), ("alertstate", "firing")}
_OF_THE_ALERT = ("alertname", "alertstate", "severity", series.INDICATOR)


def _same(a: float | None, b: float | None) -> bool:
    return a is not None and b is not None and abs(a - b) <= TOLERANCE * max(1.0, abs(a))


def torn(
    recorded: Mapping[_Key, Mapping[float, float]], times: Sequence[float], at: float, cohort: Labels
) -> bool:
    """Tell whether Prometheus stored the evidence against an alternative before ``at`` and after it, the same, but not
    then.

    The rules do no such thing: what is not added to is carried on. Prometheus 3.14 was seen to do it, with rules that
    run concurrently on a busy machine: at the second evaluation of a cohort a rule was not given one of four series
    that the rule before it had just begun. At the next one it is there again, so nothing is lost; but the mean that was
    recorded meanwhile is one of three. What is lost for longer, or changes, is left to be a difference.
    """
    here = bisect_left(times, at)
    if not 0 < here < len(times) - 1:
        return False
    before, after = times[here - 1], times[here + 1]
    parts = [values for (name, labels), values in recorded.items() if name == _PART and {*cohort} <= {*labels}]
    return any(at not in values and before in values and values[before] == values.get(after) for values in parts)


def _without(labels: Labels, names: Sequence[str]) -> Labels:
    return tuple(pair for pair in labels if pair[0] not in names)


def _show(key: _Key) -> str:
    return f"{key[0]}{{{','.join(f'{name}={value}' for name, value in key[1])}}}"


def _by_name(history: History) -> dict[_Key, dict[float, float]]:
    return {named(labels): values for labels, values in history.items()}


# --- the raw samples ------------------------------------------------------------------------------------------------
def _streams(
    server: Prometheus, until: float, times: Sequence[float], seen: dict[Labels, dict[float, float]], interval: float
) -> dict[Labels, Stream]:
    scrapes = {dict(labels)["instance"]: sorted(up) for labels, up in server.history("up", until).items()}
    out: dict[Labels, Stream] = {}
    for (_, labels), values in _by_name(server.history(semconv.PROM_FEEDBACK, until)).items():
        stream = with_stale_markers(sorted(values.items()), scrapes.get(dict(labels).get("instance", ""), []))
        out[labels] = as_seen(stream, times, seen.get(labels))
        if server.version == OLD:
            out[labels] = closed(out[labels], times, interval)
    return out


def with_stale_markers(samples: Sequence[tuple[float, float]], scrapes: Sequence[float]) -> Stream:
    """``samples``, and the end of the series wherever a scrape after one of them no longer found it."""
    times = {at for at, _ in samples}
    out: Stream = list(samples)
    if samples:
        there = True
        for at in scrapes[bisect_left(scrapes, samples[0][0]) :]:
            if there and at not in times:
                out.append((at, STALE))
            there = at in times
    return sorted(out, key=lambda sample: sample[0])


def as_seen(stream: Stream, times: Sequence[float], seen: dict[float, float] | None) -> Stream:
    """``stream`` with what an evaluation did not see yet moved behind it. ``seen`` is None where nothing was recorded.

    What came late and was followed by a new beginning before the next evaluation is left out: no rule can have seen it,
    as its time is before the first of these evaluations, and its value was gone at the second. A value that differs for
    any other reason is left as it is: the oracle will then disagree, as it should.
    """
    out, moved = list(stream), set[int]()
    if seen is None:
        return out
    for at in times:
        last = bisect_right(out, at, key=lambda sample: sample[0]) - 1
        first = bisect_right(out, at - LATE_S, key=lambda sample: sample[0])
        shown = seen.get(at)
        if last < first or out[last][1] == shown:
            continue
        older = [i for i in range(last - 1, first - 2, -1) if (out[i][1] if i >= 0 else STALE) == shown]
        if older:
            for i in range(older[0] + 1, last + 1):
                out[i] = (at + _JUST_AFTER_S * (i - older[0]), out[i][1])
                moved.add(i)
    return [sample for i, sample in enumerate(out) if i not in moved or not _ended(out, i, times)]


def closed(stream: Stream, times: Sequence[float], interval: float) -> Stream:
    """``stream`` as a Prometheus reads it whose ranges have their left end too, which those of version 3 have not.

    What is exactly an interval older than an evaluation is put a millisecond later, into its range; unless there was an
    evaluation at that very moment, which has seen it.
    """
    ends = {_ms(at - interval) for at in times} - {_ms(at) for at in times}
    return [(at + _JUST_AFTER_S if _ms(at) in ends else at, value) for at, value in stream]


def _ms(seconds: float) -> int:
    return round(seconds * 1000)


def _ended(stream: Stream, i: int, times: Sequence[float]) -> bool:
    """Tell whether the series began anew after its sample ``i`` and before the next evaluation."""
    at, value = stream[i]
    after = bisect_right(times, at)
    following = [then for when, then in stream[i + 1:] if after < len(times) and when <= times[after]]
    return value is not STALE and any(then is STALE or then < value for then in following)
