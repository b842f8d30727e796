"""What one transaction does to the charts: events are counted, windows close, alerts fire and clear.

Time is the time of the event, but never later than now, and it never runs back: what comes late is counted in the
window that is open. So a baseline depends on the events and their order alone, and a restart changes nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sqlalchemy import Connection

from backspan.rules import series, tickets
from backspan.rules.spec import Chart
from backspan.server.charts import looks
from backspan.server.charts.detector import Detector
from backspan.server.charts.evidence import details, held, whole
from backspan.server.charts.meter import Meter, cohort_of, known_partitions, parent_key, prefix
from backspan.server.charts.register import Case, Register, Said
from backspan.spc.phases import Cohort, Effective
from backspan.store import Event, charts

DAY = 86400
VOLUME_DAYS = 7
"""Days over which the volume is averaged that turns a promise in days into one in events."""
Step = tuple[Meter, list[str], float, float, Event]


class Session:
    """The charts inside one transaction; call `save` at its end."""

    def __init__(self, conn: Connection, now: float, register: Register) -> None:
        self.conn, self.now, self.register = conn, now, register
        self._clocks = charts.list_clocks(conn)
        self._overrides = charts.list_baselines(conn)
        self._running: dict[charts.Key, Detector] = {}
        self._touched: set[charts.Key] = set()
        self._moved: set[str] = set()
        self._parents: dict[charts.Key, str | None] = {}

    # --- detectors ---
    def load(self, keys: Iterable[charts.Key], meters: Mapping[str, Meter]) -> None:
        """Read the detectors of ``keys`` in one go."""
        missing = sorted(set(keys) - self._running.keys())
        rows = charts.load(self.conn, missing) if missing else {}
        for name, key in missing:
            self._restore(meters[name].chart, key, rows.get((name, key)))

    def load_all(self, chart: Chart) -> list[Detector]:
        """Every detector of a chart, parents too."""
        for row in charts.list_detectors(self.conn, chart.name):
            if (chart.name, row["cohort"]) not in self._running:
                self._restore(chart, row["cohort"], row)
        known = known_partitions(chart)
        return [one for one in self._running.values()
                if one.chart.name == chart.name and cohort_of(one.key)["partition"] in known]

    def _restore(self, chart: Chart, key: str, row: Mapping[str, Any] | None) -> None:
        override = effective(self._overrides.get((chart.name, key)))
        one = Detector.restore(chart, key, row, override)
        self._running[chart.name, key] = one
        if not looks.reach(chart):
            one.noted = None
        elif row is None:
            one.noted = (0.0, 0.0)
        elif one.noted is None:  # looked at for the first time: what was before is no news
            one.noted = (one.ratings, one.bad)
            charts.drop_totals(self.conn, chart.name, key)
            charts.add_totals(self.conn, [
                {"chart": chart.name, "cohort": key, "at": 0.0, "n": one.ratings, "bad": one.bad}])
            self._touched.add((chart.name, key))

    def parent(self, chart: Chart, key: str) -> Cohort | None:
        """What the cohort of that name inherits from."""
        name = self._parent_key(chart, key)
        if name is None:
            return None
        if (chart.name, name) not in self._running:
            row = charts.load(self.conn, [(chart.name, name)]).get((chart.name, name))
            self._restore(chart, name, row)
        return self._running[chart.name, name].life

    def _parent_key(self, chart: Chart, key: str) -> str | None:
        if (chart.name, key) not in self._parents:
            self._parents[chart.name, key] = parent_key(chart, key)
        return self._parents[chart.name, key]

    def limit(self, chart: Chart) -> float:
        """ln R at which the chart alarms now."""
        return chart.limit_at(self._clocks.get(chart.name, _NO_CLOCK)["per_day"])

    # --- events ---
    def take(self, step: Step) -> None:
        """Count one event in all cohorts that it belongs to."""
        meter, keys, n, x, event = step
        chart, time = meter.chart, min(event.time, self.now)
        self.run_to(chart, time)
        at, limit = max(time, self._clocks[chart.name]["start"]), self.limit(chart)
        for key in keys:
            one = self._running[chart.name, key]
            self._touched.add((chart.name, key))
            self._report(one, one.step(n, x, time, at, limit, self.parent(chart, key)), at)

    def _report(self, one: Detector, change: str, time: float) -> None:
        if change == "fire":
            said = details(self.conn, one, self.limit(one.chart), self.parent(one.chart, one.key))
            charts.fire(self.conn, {"chart": one.chart.name, "cohort": one.key, "fired": time,
                                    "rating": round(one.ratings), "details": said})
        elif change == "clear":
            charts.clear(self.conn, one.chart.name, one.key, time)

    def settle(self, chart: Chart, time: float, anew: Collection[str] = ()) -> None:
        """Bring every cohort of a chart in line with the baselines now in effect; those in ``anew`` start again."""
        limit = self.limit(chart)
        for one in self._cohorts(chart):
            before = one.life.sr
            one.life.sr = None if one.key in anew else before
            change = one.settle(limit, self.parent(chart, one.key))
            if change or one.life.sr is not before:
                self._touched.add((chart.name, one.key))
            self._report(one, change, time)

    def _cohorts(self, chart: Chart) -> list[Detector]:
        names = {p.name for p in chart.partitions}
        return [one for one in self.load_all(chart) if cohort_of(one.key)["partition"] in names]

    # --- windows ---
    def run_to(self, chart: Chart, time: float) -> None:
        """Look at what is due until ``time``, and close the chart's window if ``time`` is past its end."""
        start, clock = time - time % chart.window, self._clocks.get(chart.name)
        if clock is None:
            clock = {"chart": chart.name, "start": start, "first": start, "per_day": 0.0, "looked": None}
            self._clocks[chart.name] = clock
            self._moved.add(chart.name)
        elif start > clock["start"]:
            self._look(chart, clock, clock["start"] + chart.window)
            self._close(chart, clock, start)
        self._look(chart, clock, time)

    def _look(self, chart: Chart, clock: dict[str, Any], time: float) -> None:
        """Look at the ends of the intervals until ``time`` (`looks`)."""
        interval = self.register.interval
        last, looked = time - time % interval, clock["looked"]
        if not looks.reach(chart) or (looked is not None and looked >= last):
            return
        clock["looked"] = last
        self._moved.add(chart.name)
        if looked is not None:
            cohorts = [(one, one.life.baseline(self.parent(chart, one.key))) for one in self._cohorts(chart)]
            changed = looks.look(self.register, chart, cohorts, looked + interval, last)
            self._touched.update((chart.name, one.key) for one in changed)

    def _close(self, chart: Chart, clock: dict[str, Any], start: float) -> None:
        end, rated = clock["start"] + chart.window, [one for one in self._cohorts(chart) if any(one.window)]
        self._keep(chart, clock["start"], rated)
        clock["per_day"] = self._per_day(chart, clock, end)
        self._open_tickets(chart, end, rated)
        self._learn(chart, end, [one for one in rated if one.window[0] > 0])
        for one in rated:
            one.window = (0.0, 0.0)
            self._touched.add((chart.name, one.key))
        for one in self.load_all(chart):
            one.forget(end - chart.forget_after)
        clock.update(start=start, per_day=self._per_day(chart, clock, start))
        self._moved.add(chart.name)
        self.settle(chart, end)
        charts.forget(self.conn, chart.name, start - max(chart.forget_after, looks.reach(chart)))
        if looks.reach(chart):
            charts.forget_totals(self.conn, chart.name, start - looks.reach(chart) - self.register.interval)

    def _open_tickets(self, chart: Chart, end: float, rated: Sequence[Detector]) -> None:
        """What the rules of the drawn chart say of the windows that ended at ``end``."""
        firing: dict[Case, Said] = {}
        for one in rated:
            base, (n, x) = one.life.baseline(self.parent(chart, one.key)), one.window
            point = one.rules.take(chart, base, n, x, end)
            if point is None:
                continue
            for rule in point.tickets:
                value, limit = tickets.measured(rule, point.z, point.ewma)
                firing[one.key, rule] = partial(
                    held, one, base, "ticket", value, limit, end - chart.window, rule=rule, text=tickets.TEXTS[rule],
                    window=chart.window, window_n=whole(n), window_bad=whole(x), z=point.z, ewma=point.ewma)
        self.register.pulse(series.ALERT_SHIFT, chart.name, end, tickets.hold(chart), firing)

    def _keep(self, chart: Chart, start: float, rated: Sequence[Detector]) -> None:
        """Keep what the window held, for a promise in days or an objective."""
        period = max(VOLUME_DAYS * DAY if chart.promise.days else 0, chart.slo.period if chart.slo else 0)
        if period:
            rows = [{"chart": chart.name, "start": start, "cohort": one.key, "n": one.window[0], "bad": one.window[1]}
                    for one in rated]
            charts.add_windows(self.conn, rows, start - period)

    def _per_day(self, chart: Chart, clock: Mapping[str, Any], end: float) -> float:
        """Events a day: the mean of the windows that ended in the week before ``end``, empty ones too."""
        if not chart.promise.days:
            return 0.0
        week, first = VOLUME_DAYS * DAY, chart.partitions[0]
        since = max(clock["first"], end - week - chart.window + 1)
        n, _ = charts.in_windows(self.conn, chart.name, prefix(first), since)
        ended = min((end - clock["first"]) // chart.window, -(-week // chart.window))
        return n / ended * DAY / chart.window if ended else 0.0

    def _learn(self, chart: Chart, end: float, rated: Sequence[Detector]) -> None:
        """Every cohort learns from its window, then the parents from those of their cohorts that do not alarm."""
        limit, sums = self.limit(chart), dict[str, list[float]]()
        for one in rated:
            parent = self.parent(chart, one.key)
            alarming, above = one.alarming(limit, parent), self._parent_key(chart, one.key)
            if above is not None:
                total = sums.setdefault(above, [0.0, 0.0])
                if not alarming:
                    total[0], total[1] = total[0] + one.window[0], total[1] + one.window[1]
            one.close(end, alarming, parent, one.window)
        for key, (n, x) in sums.items():
            self._running[chart.name, key].close(end, not n, None, (n, x))
            self._touched.add((chart.name, key))

    # --- time passes ---
    def rest(self, chart: Chart) -> None:
        """Close a window that nothing came after."""
        if chart.name in self._clocks:
            self.run_to(chart, self.now)

    def idle(self, meter: Meter | None, alert: charts.Key) -> None:
        """End an alert whose cohort nobody rates any more, or whose chart is no longer evaluated."""
        if meter is None or cohort_of(alert[1])["partition"] not in known_partitions(meter.chart):
            charts.clear(self.conn, *alert, self.now)
            return
        self.load([alert], {alert[0]: meter})
        one = self._running[alert]
        if one.rated_at <= self.now - meter.chart.idle_after:
            one.alarm = False
            self._touched.add(alert)
            charts.clear(self.conn, *alert, self.now)

    # --- the end ---
    def save(self) -> None:
        """Write what has changed."""
        changed = [self._running[key] for key in sorted(self._touched)]
        if changed:
            charts.save(self.conn, [one.saved() for one in changed], [row for one in changed for row in one.points()])
        charts.save_clocks(self.conn, [self._clocks[name] for name in sorted(self._moved)])


_NO_CLOCK: Mapping[str, Any] = {"per_day": 0.0}


def effective(row: Mapping[str, Any] | None) -> Effective | None:
    """A baseline that a person set."""
    return None if row is None else Effective(row["p0"], row["phi"], row["phase"])
