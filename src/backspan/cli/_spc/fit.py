"""``backspan spc fit``: learn baselines from history, with a reason for every point left out."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping
from math import inf
from pathlib import Path
from typing import Any

from backspan.cli import print_json
from backspan.cli._spc import baselines, options, reasons, standing
from backspan.cli._spc.baselines import Baseline
from backspan.cli._spc.embedded import Embedded, cohorts_of
from backspan.cli._spc.errors import Fault
from backspan.cli._spc.fit_report import Result, as_json, lines_of
from backspan.cli._spc.history import Cohort, History, Window, parent_of, tumbling
from backspan.cli._spc.phase_one import LEAST_WINDOWS, Report, study
from backspan.cli._spc.progress import note
from backspan.cli._spc.times import length, stamp
from backspan.cli._spc.words import count, events
from backspan.rules.spec import Chart, Spec
from backspan.spc.baseline import no_worse
from backspan.spc.phases import INHERITED, Effective

HELP = "learn baselines from history (Phase I) and write them where the rules read them"
OUT = Path("collector/rules/baselines.yml")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``fit``."""
    options.add_source(parser)
    options.add_period(parser, "30d")
    parser.add_argument("--exclude", action="append", default=[], metavar="START=REASON",
                        help="leave out the window out of limits that holds START (or START..END); may be repeated")
    parser.add_argument("--reasons", type=Path, metavar="FILE", help="the same from a YAML list of {start, reason}")
    parser.add_argument("--force", action="store_true", help="fit from less than the chart's baseline asks for")
    parser.add_argument("--rebase", action="store_true", help="accept a level worse than the one in effect")
    parser.add_argument("--reason", metavar="TEXT", help="why: needed with --rebase, and kept with the baseline")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FILE",
                        help="Prometheus: the rule file to write (default %(default)s)")
    parser.add_argument("--dry-run", action="store_true", help="write nothing")


def run(args: argparse.Namespace) -> int:
    """0: fitted and written; 1: nothing fitted, or a worse level was refused. Raises `Fault`."""
    _check(args)
    spec = options.spec_of(args)
    charts, period = options.charts_of(args, spec), options.period_of(args)
    server = options.server_of(args)
    why = reasons.Reasons(_given(args), ask=sys.stdin.isatty() and sys.stderr.isatty() and not args.json)
    results: list[Result] = []
    sources: list[str] = []
    for chart in charts:
        history = _history(server, args, spec, chart, period, len(charts) > 1)
        if history is None:
            continue
        sources.append(history.source)
        holds = standing.in_effect(server, chart, period.now)
        if not isinstance(server, Embedded):
            holds |= baselines.overrides(baselines.read(args.out, spec), chart.name)
        results += _Fitting(chart, history, args, why, holds).results()
    _unused(why)
    where = _write(server, args, spec, results)
    _report(args, results, sources, where)
    done = any(result.baseline for result in results)
    return 0 if done and not any(result.verdict == "worse" for result in results) else 1


def _check(args: argparse.Namespace) -> None:
    if args.rebase and not (args.reason or "").strip():
        raise Fault("--rebase needs --reason TEXT: who accepts a worse level, and why")
    if args.reason is not None and not args.rebase:
        raise Fault("--reason is for --rebase; a point is left out by --exclude START=REASON")


def _given(args: argparse.Namespace) -> list[reasons.Exclusion]:
    found = [reasons.flag(text) for text in args.exclude]
    return found + (reasons.file(args.reasons) if args.reasons else [])


def _history(
    server: options.Server, args: argparse.Namespace, spec: Spec, chart: Chart, period: options.Period, many: bool
) -> History | None:
    """Of several charts those without data are passed over, and said."""
    try:
        return options.history_of(server, args, spec, chart, period)
    except Fault as fault:
        if not many:
            raise
        note(f"{chart.name}: passed over: {fault}")
        return None


def _unused(why: reasons.Reasons) -> None:
    for exclusion in why.unused():
        note(f"no window out of limits holds {stamp(exclusion.start)} ({exclusion.reason}): nothing is left out for it")


class _Fitting:
    """Every cohort of one chart; parents first, because nobody may be worse than theirs."""

    def __init__(
        self, chart: Chart, history: History, args: argparse.Namespace, why: reasons.Reasons,
        holds: Mapping[Cohort, Effective],
    ) -> None:
        self._chart, self._history, self._args, self._why, self._holds = chart, history, args, why, holds
        self._settled: dict[Cohort, float] = {c: base.p0 for c, base in holds.items()}

    def results(self) -> list[Result]:
        """What became of each chosen cohort."""
        rows = self._history.with_parents()
        parents = {p.parent.name for p in self._chart.partitions if p.parent}
        known = [c for c in rows if c[0] not in parents or self._chart.baseline.learnt]
        order = sorted(options.chosen(known, self._args), key=lambda c: (c[0] not in parents, c))
        found: list[Result] = []
        for cohort in order:
            windows = [
                w for w in tumbling(rows[cohort], self._chart.window, self._history.step)
                if w.start + self._chart.window <= self._history.until]
            found.append(self._one(cohort, windows))
        return found

    def _one(self, cohort: Cohort, windows: list[Window]) -> Result:
        chart, base = self._chart, self._chart.baseline
        n, enough = sum(w.n for w in windows), len(windows) >= LEAST_WINDOWS and any(w.bad for w in windows)
        if not enough or ((n < base.ratings or len(windows) < base.windows) and not self._args.force):
            return Result(chart, cohort, "short", None, 0.0, self._missing(n, windows))
        report = study(chart, windows, self._why.for_cohort(chart, cohort))
        return self._judged(cohort, report)

    def _missing(self, n: float, windows: list[Window]) -> str:
        base, unit = self._chart.baseline, events(self._chart)
        has = f"{count(n)} of {count(base.ratings)} {unit} in {len(windows)} of {base.windows} windows"
        if n and not any(w.bad for w in windows):
            return f"{has}, and none of them bad: there is no rate to learn"
        span = max(self._history.until - windows[0].start, self._chart.window) if windows else inf
        wait = max((base.ratings - n) / n if n else inf, (base.windows - len(windows)) / max(len(windows), 1)) * span
        return f"{has}; at this volume {f'about {length(wait)} more' if wait < inf else 'never'}"

    def _judged(self, cohort: Cohort, report: Report) -> Result:
        chart, args = self._chart, self._args
        before, p0, said = self._holds.get(cohort), report.fit.p0, ""
        bound = self._bound(cohort, before)
        if bound is not None and not args.rebase and no_worse(p0, bound, chart.model) != p0:
            p0, said = bound, "held at the parent's rate, which is better than its own"
        worse = before is not None and before.phase != INHERITED and _worse(p0, before.p0, chart)
        if not worse and args.rebase and bound is not None:
            worse = _worse(p0, bound, chart)
        if worse and not args.rebase:
            return Result(chart, cohort, "worse", report, p0, "", before)
        self._settled[cohort] = p0
        verdict, why = ("rebased", str(args.reason).strip()) if worse else ("fitted", said)
        return Result(chart, cohort, verdict, report, p0, why, before)

    def _bound(self, cohort: Cohort, before: Effective | None) -> float | None:
        """The accepted rate of the parent: fitted just now, or in effect."""
        partition = cohorts_of(self._chart)[cohort[0]]
        parent = parent_of(cohort, partition)
        if parent is not None and parent in self._settled:
            return self._settled[parent]
        return before.p0 if before is not None and before.phase == INHERITED else None


def _worse(p0: float, than: float, chart: Chart) -> bool:
    return no_worse(p0, than, chart.model) != p0 and abs(p0 - than) > 1e-9 * than


# --- writing --------------------------------------------------------------------------------------------------------
def _write(server: options.Server, args: argparse.Namespace, spec: Spec, results: list[Result]) -> str:
    """Where the baselines are now; "" if nothing was written."""
    found = [(result, result.baseline) for result in results]
    made = [(result, baseline) for result, baseline in found if baseline is not None]
    if not made or args.dry_run:
        return ""
    if isinstance(server, Embedded):
        for chart in dict.fromkeys(result.chart.name for result, _ in made):
            server.set_baselines(chart, [_row(r, b) for r, b in made if r.chart.name == chart])
        return server.base
    book = baselines.read(args.out, spec)
    book.update({baseline.key: baseline for _, baseline in made})
    try:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        part = args.out.with_name(f".{args.out.name}.part")
        part.write_text(baselines.write(spec, book.values()), encoding="utf-8")
        part.replace(args.out)
    except OSError as error:
        raise Fault(f"--out: {error}") from None
    return str(args.out)


def _row(result: Result, baseline: Baseline) -> dict[str, Any]:
    report = result.report
    excluded = [{"start": p.window.start, "reason": p.reason} for p in report.excluded] if report else []
    labels = dict.fromkeys(cohorts_of(result.chart)[baseline.cohort[0]].by, "") | dict(baseline.cohort[1])
    return {"partition": baseline.cohort[0], "labels": labels, "p0": baseline.p0,
            "phi": baseline.phi, "phase": baseline.phase, "reason": baseline.reason, "excluded": excluded}


def _report(args: argparse.Namespace, results: list[Result], sources: list[str], where: str) -> None:
    if args.json:
        print_json({"sources": sources, "written": where or None, "cohorts": [as_json(result) for result in results]})
        return
    for chart in dict.fromkeys(result.chart.name for result in results):
        mine = [result for result in results if result.chart.name == chart]
        print(f"{chart}: {mine[0].chart.watched.description}")
        print(f"  from {sources[list(dict.fromkeys(r.chart.name for r in results)).index(chart)]}")
        for result in mine:
            print("\n".join(f"  {line}" for line in lines_of(result)))
    if where:
        print(f"written: {where}")
        if not any(where.startswith(scheme) for scheme in ("http:", "https:")):
            note("reload Prometheus to put it in force: curl -X POST URL/-/reload, or SIGHUP")
    elif args.dry_run:
        note("nothing written (--dry-run)")
