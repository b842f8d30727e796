"""`docs/explanation/capacity.md` from what was measured. Standard library only: `make check` renders it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Found = Mapping[str, Any]
PARTS = {"collector": "Collector", "tempo": "Tempo", "gateway": "gateway", "prometheus": "Prometheus"}
TARGETS = {"tempo": "Tempo", "gateway": "the gateway"}
WORKERS = ("collector", "tempo", "gateway")
"""Whose processor time follows calls and votes; Prometheus's follows series."""
MAKERS = {
    "application": "the application's own metrics", "collector": "the Collector, of spans (`span_metrics`)",
    "gateway": "the gateway: answers and votes", "rules": "the rules, within the first minute",
}
QUEUE_BYTES, TEMPO_LIMIT = 1_000_000_000, 100_000_000
"""`queue_size` of each exporter of collector.yaml; `rate_limit_bytes` of tempo.yaml, in a second."""
COMPOSE_LIMITS = {"collector": 512, "tempo": 3072, "gateway": 512, "prometheus": 1024}
"""`mem_limit` of docker-compose.yml, in MiB."""
SAMPLES_A_DAY = 24 * 3600 // 15
QUEUE = "queue for "
CALLS_A_SECOND = 10

_HEAD = """
Written by `python benchmarks/capacity/run.py`; `make check` looks that it is what `benchmarks/capacity/capacity.json`
says. Machine: {machine}. **That one machine ran everything, the sender of the load included.** Other work
took {others:.1f} of its cores before the costs were measured, {ramp_others:.1f} before the ramps,
{alone_others:.1f} before what is said of queues and of each part by itself. Rates are what is left beside all
that: expect more where each part has a machine of its own. Costs by the million depend less on it.

A call here is one span with a prompt of 2,000 characters and an answer of 1,000, of made-up words of which some are
frequent and most are rare, {sent:.1f} kB as sent; {calls:,} of them. A vote is a first vote by token, {votes:,} of
them. The configuration is the shipped one: redaction on, everything kept, a queue on disk for each target. Processor
time is above what the same program uses while nobody calls.
"""
_IDLE = """
With nobody calling and nothing counted yet, all programs together use {idle:.2f} of a core; with the series of
{cohorts} prompt versions in Prometheus, {counted:.2f}. The most memory that each
held in the whole measurement, ramps included: {peaks}. Nothing limited them
here. `docker-compose.yml` allows {limits} MiB in this order{too_small}.
"""
_KEPT = """
Tempo keeps 30 days, and the gateway 30 days of calls and 400 of votes: multiply by what comes in that time. The
gateway writes a prompt three times (among the messages, as the call's query, with the turn that people read) and an
answer twice. Tempo's figure is that of new blocks; it may merge them later.
"""
_SERIES = """
Each of {versions} versions was answered twice and voted up and down, and nothing was learnt yet. An evaluation of one
chart that has learnt its baseline holds {learnt:,.0f} series a cohort (below). A second model, variant or segment is
a cohort of its own and costs the same again.
"""
_SAMPLES = """
A sample took {each:.1f} bytes in Prometheus's write-ahead log, so a series that is written every 15 s writes
{day:,.0f} kB a day there. Blocks, which Prometheus writes after some hours, were not measured.
"""
_QUEUES = """
On disk both queues together took {disk:,.0f} bytes a call. A queue ends at 1 GB (`queue_size`): at {rate} calls a
second the one for Tempo lasts {hours:.1f} hours. When both targets were started again, {calls:,} waiting calls had
left for Tempo at {tempo:,} a second and for the gateway at {gateway:,}, counted from that start: the Collector's
pauses between attempts are in it.
"""
_RULES = """
**Cohorts**: one evaluation of one learnt chart took {group_s:.1f} s at {cohorts:,} cohorts, {pager_s:.1f} s of it the
rules that page, with {series:,} series and {memory:,.0f} MB of memory (`python benchmarks/spc/evaluation.py`, on
{machine}; not measured again here). If that grows in proportion, which was not tried, one chart takes longer than its
interval of {interval_s} s at {late:,} cohorts, and all {charts} learnt charts of the shipped spec, each with as many
cohorts, fill two cores at {all_late:,}. Then evaluations are left out and alarms come later; `BackspanRulesLate` says
so.
"""
_END = """
How each part grows beyond one: [Grow beyond one machine](../how-to/scale-out.md). What each alert asks of you: [When
an alert is about the telemetry itself](../how-to/telemetry-alert.md).
"""
_QUEUE_GREW = """the queue for {part} grew, as {part} took less than came. Nothing is lost then; what is new shows
later and later. At that pace the queue is half full after {minutes:,.0f} min, and ten minutes later there is
`BackspanTelemetryQueueFilling`; when it is full, `BackspanTelemetryQueueFull`"""
_SEEN = {
    "refused": "the Collector refused some (`BackspanTelemetryRefused`; senders repeat)",
    "discarded": "Tempo refused some for good (`BackspanTelemetryDropped`)",
    "slow": "the Collector took them more slowly than they were sent. No alert says so, as nothing is refused: calls "
            "wait in the applications, whose own queue has an end and which count and say what they drop",
}
_VOTES_END = """and it took no more than {accepted:,} a second of {offered:,}. Above that a vote waits, and when
too many wait the gateway answers 503 with `Retry-After`; what it answered with 201 is on disk. No alert says so:
a thumb takes longer. If the gateway has not answered Prometheus for two minutes, `BackspanPartDown` pages."""
_SHARES = """
Of the processor that a call takes, {call_part} uses {call_share:.0%}, and of that of a vote {vote_part} uses
{vote_share:.0%}: where processor is short, these are felt first.
"""
_VOTES_HELD = "and nothing else gave way up to {offered:,}, the most that was tried."
_ALONE = """
As fast as four connections hand in requests of 50 calls, beside the sender. Refused: {refused}. The last column is
calls by second of processor. A part that uses less than a core waits: for its disk, for the other programs, or for
the sender. Tempo refuses what is over 100 MB a second (`rate_limit_bytes`), some {limit:,} such calls.
"""


def render(found: Found) -> str:
    """The page."""
    parts = (_head(found), _costs(found), _series(found), _queues(found), _first(found), _calls_table(found),
             _votes_table(found), _alone(found), ["", _wrap(_END)])
    return "\n".join(line for part in parts for line in part) + "\n"


def _wrap(text: str, **values: Any) -> str:
    return textwrap.fill(" ".join(text.format(**values).split()), 120, break_long_words=False, break_on_hyphens=False)


def _head(found: Found) -> Iterator[str]:
    first, second = _HEAD.strip().split("\n\n")
    calls = found["calls"]
    values = {"machine": found["machine"], "sent": calls["bytes_sent"] / 1e9, "calls": calls["count"],
              "votes": found["votes"]["count"], "others": found["others"],
              "ramp_others": found["ramp_others"], "alone_others": found["alone_others"]}
    yield "# What it costs, and what gives way first"
    yield from ("", _wrap(first, **values), "", _wrap(second, **values), "")


def _costs(found: Found) -> Iterator[str]:
    loads = (found["calls"], found["votes"])
    yield from ("## By the million", "", "| | a million calls | a million votes |", "| --- | ---: | ---: |")
    for name in WORKERS:
        yield f"| processor, {PARTS[name]} | " + " | ".join(f"{load['cpu_s'][name]:,.0f} s" for load in loads) + " |"
    sums = [sum(load["cpu_s"][name] for name in WORKERS) for load in loads]
    yield "| **processor together** | " + " | ".join(f"**{one:,.0f} s**" for one in sums) + " |"
    for name, title in (("tempo", "Tempo, blocks"), ("gateway", "gateway, SQLite")):
        yield f"| disk, {title} | " + " | ".join(f"{load['bytes'][name] / 1e9:,.2f} GB" for load in loads) + " |"
    peaks = ", ".join(f"{title} {found['peak'][name] / 1e6:,.0f} MB" for name, title in PARTS.items())
    yield from ("", _wrap(_IDLE, idle=sum(found["idle_cpu"].values()), peaks=peaks, **_limits(found["peak"]),
                          cohorts=found["version"]["versions"] + found["version"]["others"],
                          counted=sum(found["counted_cpu"].values())), "", _wrap(_KEPT), "")


def _limits(peak: Mapping[str, float]) -> dict[str, str]:
    over = [title for name, title in PARTS.items() if peak[name] > COMPOSE_LIMITS[name] * 2**20]
    small = f": at these rates too little for {', '.join(over)}, so raise `mem_limit` first" if over else ""
    return {"limits": ", ".join(map(str, COMPOSE_LIMITS.values())), "too_small": small}


def _series(found: Found) -> Iterator[str]:
    series, each = found["version"]["series"], found["prometheus"]["wal_bytes_per_sample"]
    yield from ("## Series", "", "Prometheus grows by series, not by calls. A new prompt version costs:", "")
    yield from ("| made by | series |", "| --- | ---: |")
    for name, title in MAKERS.items():
        yield f"| {title} | {series.get(name, 0):,.0f} |"
    yield f"| **together** | **{sum(series.values()):,.0f}** |"
    learnt = found["evaluation"]["series"] / found["evaluation"]["cohorts"]
    yield from ("", _wrap(_SERIES, learnt=learnt, versions=found["version"]["versions"]), "")
    yield from (_wrap(_SAMPLES, each=each, day=each * SAMPLES_A_DAY / 1e3), "")


def _queues(found: Found) -> Iterator[str]:
    calls, votes = found["waiting_calls"], found["waiting_votes"]
    yield from ("## Queues, while a target is away", "")
    yield from ("| what waits | where | bytes each | room for |", "| --- | --- | ---: | ---: |")
    for name in TARGETS:
        each = calls["queue_bytes"][name]
        room = f"{_round(QUEUE_BYTES / each):,} calls"
        yield f"| a call, for {TARGETS[name]} | the Collector's queue | {each:,.0f} | {room} |"
    each = votes["store_bytes"]
    yield f"| a vote, for the Collector | the gateway's store, the vote included | {each:,.0f} | the disk |"
    hours = QUEUE_BYTES / calls["queue_bytes"]["tempo"] / CALLS_A_SECOND / 3600
    yield from ("", _wrap(_QUEUES, disk=calls["disk_bytes"], rate=CALLS_A_SECOND, hours=hours, calls=calls["calls"],
                          **calls["drained_per_second"]), "")


# --- what gives way -------------------------------------------------------------------------------------------------
def _first(found: Found) -> Iterator[str]:
    yield from ("## What gives way first", "", _shares(found), "")
    yield from (_calls_verdict(found["ramp_calls"]), "")
    yield from (_votes_verdict(found["ramp_votes"]), "", _rules_verdict(found["evaluation"], found["charts"]), "")


def _shares(found: Found) -> str:
    values: dict[str, Any] = {}
    for kind in ("call", "vote"):
        cpu = {name: found[f"{kind}s"]["cpu_s"][name] for name in WORKERS}
        most = max(cpu, key=lambda name: cpu[name])
        values |= {f"{kind}_part": f"the {PARTS[most]}", f"{kind}_share": cpu[most] / sum(cpu.values())}
    return _wrap(_SHARES, **values)


def held(steps: Sequence[Found]) -> int:
    """The highest rate up to which no step broke; 0 if the first one did."""
    best = 0
    for step in steps:
        if step["broke"]:
            break
        best = step["offered"]
    return best


def _calls_verdict(steps: Sequence[Found]) -> str:
    last = steps[-1]
    if not last["broke"]:
        return _wrap("**Calls**: nothing gave way up to {offered:,} a second, the most that was tried.", **last)
    kept = f"all kept up at {held(steps):,} a second" if held(steps) else "not even the lowest rate was kept up"
    seen = "; ".join(_seen(one, last) for one in last["broke"])
    used = dict(sorted(last["cores"].items(), key=lambda one: -one[1]))
    cores = ", ".join(f"{PARTS.get(name, name)} {value:.2f}" for name, value in used.items() if value >= 0.01)
    return _wrap(f"**Calls**: {kept}. At {last['offered']:,} offered and {last['accepted']:,} accepted, {seen}."
                 f" Cores used in that step: {cores}, together {sum(used.values()):.2f}.")


def _seen(what: str, step: Found) -> str:
    """What broke, and what a user sees of it."""
    if not what.startswith(QUEUE):
        return _SEEN[what]
    name = what.removeprefix(QUEUE)
    pace = step["growth"][name] / step["growth_s"]
    return _QUEUE_GREW.format(part=TARGETS[name], minutes=QUEUE_BYTES / 2 / pace / 60)


def _votes_verdict(steps: Sequence[Found]) -> str:
    last, quick = steps[-1], [step["offered"] for step in steps if "p99" not in step["broke"]]
    begin = (f"was within 50 ms at {max(quick):,} a second, the highest such step," if quick else
             f"was above 50 ms from {steps[0]['offered']:,} a second on, the least that was tried,")
    end = _VOTES_END if "slow" in last["broke"] else _VOTES_HELD
    return _wrap(f"**Votes**: the gateway's 99th percentile {begin} {end}", **last)


def _rules_verdict(one: Found, charts: int) -> str:
    late = one["cohorts"] * one["interval_s"] / one["group_s"]
    return _wrap(_RULES, **one, memory=one["rss"] / 1e6, charts=charts, late=_round(late),
                 all_late=_round(2 * late / charts))


def _calls_table(found: Found) -> Iterator[str]:
    yield from ("### Calls a second, through everything", "")
    yield "| offered | accepted | refused | queue for Tempo grows by | for the gateway by | cores |"
    yield "| ---: | ---: | ---: | ---: | ---: | ---: |"
    for step in found["ramp_calls"]:
        growth = " | ".join(f"{_megabytes(step, name):,.1f} MB/s" for name in TARGETS)
        cores = sum(step["cores"].values())
        yield f"| {step['offered']:,} | {step['accepted']:,} | {step['refused']:,.0f} | {growth} | {cores:.2f} |"
    yield from ("", "Growth is that of the second half of a step; cores are those of all programs and the sender.", "")


def _megabytes(step: Found, name: str) -> float:
    """By which a queue grows in a second; no negative zero."""
    return round(step["growth"][name] / step["growth_s"] / 1e6, 1) + 0.0


def _votes_table(found: Found) -> Iterator[str]:
    yield from ("### Votes a second", "")
    yield from ("| offered | accepted | median | 99th percentile |", "| ---: | ---: | ---: | ---: |")
    for step in found["ramp_votes"]:
        yield f"| {step['offered']:,} | {step['accepted']:,} | {step['p50_ms']:,.0f} ms | {step['p99_ms']:,.0f} ms |"
    yield ""


def _alone(found: Found) -> Iterator[str]:
    yield from ("### Each part by itself", "")
    yield from ("| part | calls a second | cores used | a core would carry |", "| --- | ---: | ---: | ---: |")
    parts = {"Collector, both targets away": found["waiting_calls"]}
    parts |= {PARTS[name]: found["alone"][name] for name in TARGETS}
    for title, one in parts.items():
        core = _round(one["per_second"] / one["cores"])
        yield f"| {title} | {one['per_second']:,} | {one['cores']:.2f} | {core:,} |"
    refused = ", ".join(f"{title} {one['refused']:,} requests" for title, one in parts.items() if one["refused"])
    limit = _round(TEMPO_LIMIT / (found["calls"]["bytes_sent"] / 1e6))
    yield from ("", _wrap(_ALONE, refused=refused or "nothing", limit=limit))


def _round(value: float) -> int:
    """Two significant digits."""
    digits = max(len(str(int(value))) - 2, 0)
    return round(value / 10**digits) * 10**digits
