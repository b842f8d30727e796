"""One stream of answers and votes for `up` and for the Python oracle of the generated rules, and the lives of alerts.

The oracle sees what Prometheus would: counters, scraped at every evaluation. `up` gets the events themselves.
"""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import dataclass

from backspan import semconv
from backspan.rules.canary_oracle import Comparison, Split
from backspan.rules.oracle import Oracle
from backspan.rules.oracle_counting import labels_of
from backspan.rules.slo import partitions
from backspan.rules.slo_oracle import Ledger
from backspan.rules.spec import parse

from .charting import NOW, PROMPT, SERVICE, vote
from .test_counting import call

STEP, HOUR = 120, 3600
HOURS = 13
END = (HOURS + 8) * HOUR
"""Seconds of the stream, and until the last look."""
COHORTS = {"service": SERVICE, "prompt": PROMPT}
SPEC = {
    "version": 1, "interval": "2m",
    "charts": [
        {"name": "thumbs_down", "indicator": "thumbs_down", "cohorts": COHORTS, "false_alarm_every": 100_000,
         "baseline": {"kind": "given", "p0": 0.1}, "keep_firing_for": "10m", "owner": "search",
         "slo": {"objective": 0.95, "period": "7d"}},
        {"name": "learnt", "indicator": "thumbs_down", "cohorts": COHORTS, "false_alarm_every": 100_000,
         "window": "30m", "baseline": {"kind": "learnt", "ratings": 100, "windows": 5}, "keep_firing_for": "45m"},
        {"name": "coverage", "indicator": "feedback_coverage", "cohorts": {"service": SERVICE},
         "false_alarm_every": 100_000, "baseline": {"kind": "given", "p0": 0.7}},
    ],
    "canaries": [{"name": "canary", "indicators": ["thumbs_down", "regenerate"], "owner": "search",
                  "expect": {"control": 0.5, "treatment": 0.5}}],
}


@dataclass(frozen=True)
class Said:
    """One answer, or one vote on the answer of that number."""

    time: float
    number: int
    version: str
    variant: str
    name: str = ""
    bad: bool = False
    late: bool = False


def spec(**canary):
    return parse({**SPEC, "canaries": [{**SPEC["canaries"][0], **canary}]})


def stream(seed=1):
    """Three answers in two minutes, most of them judged. The treatment is worse and gets too little of the traffic; in
    the sixth hour nearly all is bad; from the ninth on nobody judges for an hour and a half."""
    chance, found = random.Random(seed), []
    for number in range(HOURS * 90):
        time = NOW + number * 40 + chance.uniform(1, 39)
        hour = (time - NOW) / HOUR
        variant = "treatment" if chance.random() < 0.3 else "control"
        version = "2" if hour > 4 and chance.random() < 0.5 else "1"
        found.append(Said(time, number, version, variant))
        if chance.random() < 0.7 and not 8 < hour < 9.5:
            p = 0.85 if 5 < hour < 6 else 0.35 if variant == "treatment" else 0.08
            late = chance.random() < 0.1
            found.append(Said(time + 0.5, number, version, variant, semconv.USER_THUMBS, chance.random() < p, late))
            if chance.random() < 0.1:
                found.append(Said(time + 0.7, number, version, variant, "implicit_regenerate", True))
    return found


# --- up -------------------------------------------------------------------------------------------------------------
def play(up, said, restart=0.06, tick=0.3, seed=1):
    """Send the stream to `up`, interval by interval, with restarts and ticks in between; then let eight hours pass."""
    chance, slots = random.Random(seed), defaultdict(list)
    for one in said:
        slots[int((one.time - NOW) // STEP)].append(one)
    for slot in range(HOURS * HOUR // STEP):
        up.clock.now = NOW + (slot + 1) * STEP - 1e-3
        for waiting in [_send(up, one) for one in slots[slot]]:
            waiting.result()
        if chance.random() < tick:
            up.tick()
        if chance.random() < restart:
            up.reopen()
    for seconds in range(HOURS * HOUR, END + 1, 2400):
        up.clock.now = NOW + seconds
        up.tick()
        if chance.random() < restart:
            up.reopen()


def _send(up, one):
    place = {semconv.PROMPT_VERSION: one.version, semconv.VARIANT: one.variant}
    if not one.name:
        return up.store.put_spans([call(
            one.number, ended=one.time, started=one.time - 1, prompt_name="support", prompt_version=one.version,
            variant=one.variant)])
    dims = {semconv.SERVICE_NAME: "chat", semconv.ENVIRONMENT: "test", semconv.PROMPT_NAME: "support",
            semconv.REQUEST_MODEL: "m-1", **place}
    return up.store.put_votes([vote(
        one.number, one.bad, one.version, time=one.time, id=f"{one.name}{one.number}", name=one.name, dims=dims,
        source="end_user" if one.name == semconv.USER_THUMBS else "implicit", delay=7200.0 if one.late else 1.0)])


def lives(up):
    """(alert, chart, partition, labels, rule) -> [(fired, cleared)] of all but the pager's, as `up` shows them."""
    found = defaultdict(list)
    from backspan.server.charts import views

    with up.store.reading() as conn:
        shown = views.alerts(conn)
    for alert in shown:
        if alert["alert"] != "BackspanQualityRegression":
            labels = {semconv.prometheus_label(key): value for key, value in alert["cohort"]["labels"].items()}
            rule = alert.get("rule") or (alert["severity"] if alert["alert"] == "BackspanBudgetBurn" else "")
            partition = alert["cohort"]["partition"]
            extra = {"indicator": alert["indicator"]} if alert["alert"] == "BackspanCanaryWorse" else {}
            key = alert["alert"], alert["chart"], partition, labels_of({**labels, **extra}), rule
            found[key].append((alert["fired"] - NOW, alert["cleared"] and alert["cleared"] - NOW))
    return {key: sorted(times) for key, times in found.items()}


# --- the oracle -----------------------------------------------------------------------------------------------------
def scraped(said):
    """Raw counters of the stream, from before its beginning, one sample per evaluation."""
    times = defaultdict(list)
    for one in said:
        labels = {"service_name": "chat", "deployment_environment_name": "test", "gen_ai_prompt_name": "support",
                  "gen_ai_request_model": "m-1", "gen_ai_prompt_version": one.version,
                  "feature_flag_result_variant": one.variant, "__name__": "backspan_answers_total"}
        if one.name:
            source = "end_user" if one.name == semconv.USER_THUMBS else "implicit"
            labels |= {"__name__": "backspan_feedback_total", "name": one.name, "op": "add", "source": source,
                       "polarity": "negative" if one.bad else "positive", "age": "le_1d" if one.late else "le_1h"}
        times[labels_of(labels)].append(one.time)
    return {labels: _counter(sorted(seen)) for labels, seen in times.items()}


def _counter(seen):
    samples, n = [], 0
    for at in range(int(NOW), int(NOW) + END + 1, STEP):
        while n < len(seen) and seen[n] < at:
            n += 1
        samples.append((at, n))
    return samples


def expected(said, made):
    """The same as `lives`, by the oracle: conditions at every evaluation, and Prometheus's `keep_firing_for`."""
    streams, conditions = scraped(said), defaultdict(dict)
    grid = range(int(NOW), int(NOW) + END + 1, STEP)
    for chart in made.charts:
        _of_chart(made, chart, streams, grid, conditions)
    for canary in made.canaries:
        comparison, split = Comparison(made, canary, streams), Split(made, canary, streams)
        for at in grid:
            for (name, group, variant), row in comparison.step(at).items():
                labels = labels_of({**dict(group), "feature_flag_result_variant": variant, "indicator": name})
                conditions["BackspanCanaryWorse", canary.name, "canary", labels, "", 300][at] = row.alarm
            split.step(at)
            for group in split.firing(at):
                conditions["BackspanSampleRatioMismatch", canary.name, "canary", group, "", HOUR][at] = True
    found = {key[:-1]: life(met, grid, key[-1]) for key, met in conditions.items()}
    return {key: times for key, times in found.items() if times}


def _of_chart(made, chart, streams, grid, conditions):
    oracle, ledgers = Oracle(made, chart, streams), {}
    broad = {p.name for p in partitions(chart)}
    for at in grid:
        for (partition, labels), row in oracle.step(at).items():
            for rule in row.tickets:
                held = max(chart.window, chart.keep_firing_for)
                conditions["BackspanQualityShift", chart.name, partition, labels, rule, held][at] = True
            if row.missing:
                conditions["BackspanFeedbackMissing", chart.name, partition, labels, "", 300][at] = True
            if chart.slo and partition in broad:
                ledger = ledgers.setdefault((partition, labels), Ledger(made, chart.slo))
                budget = ledger.step(at, row.n or 0.0, row.bad or 0.0)
                for severity in ("page", "ticket"):
                    met = budget is not None and getattr(budget, severity)
                    conditions["BackspanBudgetBurn", chart.name, partition, labels, severity, HOUR][at] = met


def life(met, grid, hold):
    """[(fired, cleared)] of one alert; cleared is None if it fires at the end."""
    found, fired, quiet = [], None, None
    for at in grid:
        if met.get(at):
            fired, quiet = at if fired is None else fired, None
        elif fired is not None:
            quiet = at if quiet is None else quiet
            if at - quiet >= hold:
                found.append((fired - NOW, at - NOW))
                fired = quiet = None
    return [*found, (fired - NOW, None)] if fired is not None else found
