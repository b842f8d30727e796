"""Sample-ratio check of a canary: do the variants get the shares of the traffic that the spec expects?

If not, the assignment, the logging or a crash chose who is counted, and the comparison of the rates is void. The
mathematics is `backspan.spc.split.log_split`, which may be looked at at any time.

Answers are counted, because no metric counts users, and the answers of one user go to one variant. So they are not
independent. How much more their shares scatter from hour to hour than chance allows is measured, and all counts are
divided by it; nothing is said before `LEAST_WINDOWS` hours with traffic. A user who is active for hours makes the
hours alike as well, which no measure by the hour sees: treat the alert as a reason to look, not as a proof.

Other shares in the spec begin a new check: the series carry them in label ``expect``.

============================  ========================================================================================
``spc:canary_exposure``       answers since the previous evaluation by variant; only when there are any
``spc:canary_share``          share that the spec expects (label ``expect`` holds all of them)
``spc:canary_split_point``    answers of the hour that just ended, by variant
``spc:canary_split``          sums over the hours, by ``stat``: n, nn (``n^2`` over all answers of the hour), windows
``spc:canary_split_phi``      how much more the shares scatter than chance allows, with room for its own error
``spc:canary_split_evidence`` ln of the Bayes factor against the expected shares; ``BackspanSampleRatioMismatch`` at
                              ln 1000
============================  ========================================================================================
"""

from __future__ import annotations

from math import log
from types import MappingProxyType
from typing import Any

from backspan import semconv
from backspan.rules import series
from backspan.rules._node import write_duration
from backspan.rules.canary_series import ALERT_SPLIT, CANARY, EXPECT, VARIANT, by_arm, own, quoted, select, stat, within
from backspan.rules.counting import Rule, counting, label, number, short_of
from backspan.rules.indicators import Events
from backspan.rules.labels import owned
from backspan.rules.spec import Canary, Spec
from backspan.rules.templates import COUNT, named, remembered
from backspan.spc.split import ALPHA, CONCENTRATION

WINDOW = 3600
"""Seconds over which the scatter is measured."""
LEAST_WINDOWS = 12
"""Windows with traffic before anything is said."""
HOLD = 3600
"""Seconds for which the alert stays when the condition no longer holds."""


def recording(spec: Spec, canary: Canary) -> list[Rule]:
    """The recording rules, in the order in which they must run; none unless the spec expects shares."""
    if not canary.expect:
        return []
    memory = write_duration(canary.forget_after)
    split, new = select("split", canary), own("split_new", canary)
    return [
        *counting(spec, canary.name, exposures(canary), "exposure_"),
        ("spc:canary_exposure", label(f"({by_arm(canary, _inc(canary))} > 0)", CANARY, canary.name)),
        ("spc:canary_share", _shares(canary)),
        ("spc:canary_split_point", _point(spec, canary)),
        ("spc:canary_split_new", _new(canary)),
        ("spc:canary_split", f"{new} + last_over_time({split}[{memory}])\nor {new}"),
        ("spc:canary_split_phi", _phi(canary)),
        ("spc:canary_split_evidence", _evidence(canary)),
    ]


def exposures(canary: Canary) -> Events:
    """What is counted as traffic: answers that say their variant."""
    return Events(semconv.PROM_ANSWERS, "answer", unlike=MappingProxyType({canary.by: ""}))


def limit() -> float:
    """Evidence at which the alert fires: ``ln(1 / alpha)``, over all looks together."""
    return -log(ALPHA)


def expected(canary: Canary) -> str:
    """The shares as one text, the value of label ``expect``."""
    return ",".join(f"{name}={share:g}" for name, share in canary.expect)


def _inc(canary: Canary) -> str:
    return series.raw(canary.name, "exposure_inc")


def _shares(canary: Canary) -> str:
    parts = [label(f"vector({number(share)})", VARIANT, _safe(name)) for name, share in canary.expect]
    every = "\n  or ".join(parts)
    return label(label(f"(\n  {every}\n)", EXPECT, _safe(expected(canary))), CANARY, canary.name)


def _safe(value: str) -> str:
    """A value for `label`: within a string, and no ``$`` that stands for a match."""
    return quoted(value.replace("$", "$$"))[1:-1]


def _share(canary: Canary) -> str:
    return own("share", canary)


def _point(spec: Spec, canary: Canary) -> str:
    """Answers of the window that ends now, of the variants that are expected."""
    window = f"sum_over_time({select('exposure', canary)}[{short_of(WINDOW)}])"
    known = f"on ({CANARY}, {VARIANT}) group_left ({EXPECT}) ({_share(canary)} * 0 + 1)"
    return f"{window} * {known}\nand on () (vector(time() % {WINDOW}) < {spec.interval})"


def _new(canary: Canary) -> str:
    n = own("split_point", canary)
    total = f"sum without ({VARIANT}) ({n})"
    return "\nor ".join([
        label(n, series.STAT, "n"),
        label(f"{n} * {n} / ignoring ({VARIANT}) group_left () {total}", series.STAT, "nn"),
        label(f"{total} * 0 + 1", series.STAT, "windows"),
    ])


def _so_far(canary: Canary, which: str) -> str:
    """A sum, also of a variant that had no answer in this window."""
    return f"max without ({series.STAT}) (last_over_time({select('split', canary, stat(which))}"\
           f"[{write_duration(canary.forget_after)}]))"


def _total(canary: Canary) -> str:
    return f"sum without ({VARIANT}) ({_so_far(canary, 'n')})"


def _phi(canary: Canary) -> str:
    """Mean of the windows' chi-square around the shares seen so far, over its degrees of freedom; two standard errors
    up. Recorded when a window ends."""
    n, nn, windows = (_so_far(canary, which) for which in ("n", "nn", "windows"))
    each = f"ignoring ({VARIANT}) group_left () {_total(canary)}"
    scatter = f"sum without ({VARIANT}) (({nn} - {n} * {n} / {each}) / ({n} / {each}))"
    now = f"max without ({series.STAT}) ({own('split_new', canary, stat('windows'))})"
    free = f"(({windows} >= {LEAST_WINDOWS} and {now}) * {len(canary.expect) - 1} - {len(canary.expect) - 1})"
    return f"clamp_min({scatter} / {free} * (1 + 2 * sqrt(2 / {free})), 1)"


def _evidence(canary: Canary) -> str:
    n, phi, k = _total(canary), own("split_phi", canary), len(canary.expect)
    squares = f"{_so_far(canary, 'n')} * {_so_far(canary, 'n')}"
    quotients = f"{squares} / on ({CANARY}, {EXPECT}, {VARIANT}) group_left () {_share(canary)}"
    chi2 = f"(sum without ({VARIANT}) ({quotients}) / {n} - {n}) / {phi}"
    units, m = f"({n} / {phi})", number(CONCENTRATION + 1.0)
    return f"{number((k - 1) / 2)} * ln({m} / ({m} + {units}))\n+ {chi2} / 2 * {units} / ({m} + {units})"


# --- the alert ------------------------------------------------------------------------------------------------------
def condition(spec: Spec, canary: Canary) -> str:
    """PromQL of the comparisons whose traffic is split otherwise; it holds until the next window says otherwise."""
    return f"last_over_time({select('split_evidence', canary)}[{short_of(reach(spec))}]) >= {number(limit())}"


def reach(spec: Spec) -> int:
    """Seconds for which the evidence of an hour holds: until that of the next one."""
    return WINDOW + 2 * spec.interval


def alert_rules(spec: Spec, canary: Canary) -> list[dict[str, Any]]:
    """The alert, if the spec expects shares. It opens a ticket: nobody's answers are worse for it."""
    if not canary.expect:
        return []
    labels = {"severity": "info" if canary.severity == "info" else "ticket"}
    return [{
        "alert": ALERT_SPLIT,
        "expr": condition(spec, canary),
        "for": "0s",
        "keep_firing_for": write_duration(HOLD),
        "labels": owned(labels, canary.owner),
        "annotations": _annotations(canary),
    }]


def _annotations(canary: Canary) -> dict[str, str]:
    labels = within(canary)
    found = {
        "summary": f"{canary.name}: the variants do not get the traffic that was meant for them"
        f" ({{{{ $labels.{EXPECT} }}}});{named(labels)}",
        "seen": _seen(canary, labels),
        "evidence": f'{{{{ $value | printf "%.2f" }}}}, limit {limit():.2f}: by chance once in {1 / ALPHA:.0f}'
        " comparisons, however often it is looked at",
        "meaning": "the comparison of the variants is void until this is explained: the assignment, a crash of one"
        " variant, or telemetry that is lost in one of them",
        "clears": "when later hours make up for it; after the cause is mended, or when the shares were meant to change,"
        " state new ones in `expect`, and the check begins anew",
    }
    return {**found, "runbook_url": canary.runbook} if canary.runbook else found


def _seen(canary: Canary, labels: list[str]) -> str:
    """Answers of every variant."""
    selector = f"spc:canary_split{{%s,{stat('n')}}}"
    memory = write_duration(canary.forget_after)
    return (
        f"{remembered({CANARY: canary.name}, [*labels, EXPECT])}answers:"
        f"{{{{ range printf `last_over_time({selector}[{memory}])` $at | query }}}}"
        f" {{{{ .Labels.{VARIANT} }}}}={{{{ .Value | {COUNT} }}}}{{{{ end }}}}"
    )
