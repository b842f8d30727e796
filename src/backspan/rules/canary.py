"""Variants against a control: PromQL that compares them all the time, and the alert that asks for a rollback.

The mathematics is that of `backspan.spc.sequential`: it may be looked at after every event. Beside what is said in
`backspan.rules.counting`:

- *The control is counted since the variant is there*, for every variant anew. A control of the weeks before would
  blame the variant for whatever else has changed since.
- *Young feedback only* (``age="le_1h"``), in both arms: a new variant has no other. Where signals are counted per
  answer, counting begins an hour after the variant was first seen, so that neither arm waits for its first signals.
- *Missing feedback is no verdict.* An arm without judgements has no n. Where signals are counted per answer, both arms
  must have sent at least one; `feedback_coverage` and `feedback_volume` are about the absence itself and are excepted.
- *One error for the whole comparison*: ``alpha`` is divided by the number of indicators, and by the number of variants
  where `expect` names them.
- *Several events with one unit of exposure* (tokens, cost, reasons) scatter more than a Poisson count. How much is
  measured from evaluation to evaluation; until then there is no evidence. For tokens and cost ``difference`` is a share
  of the rate, because their rates are no shares.
- *An arm that nobody sees for* ``forget_after`` is forgotten; if it comes back, it begins anew.

Labels of all series: canary, indicator, variant and those of ``within``.

===========================  =========================================================================================
``spc:canary_n``             events (or exposure) of an arm since it was first seen; of the control as well
``spc:canary_bad``           bad ones among them (or events)
``spc:canary_rate``          ``bad / n``
``spc:canary_control_n``     the control's, since *this variant* was first seen; ``_control_bad``, ``_control_rate``
``spc:canary_difference``    rate of the variant less that of the control
``spc:canary_half_width``    half of its always-valid interval
``spc:canary_evidence``      ln Lambda; ``spc:canary_limit`` is what it has to reach
``spc:canary_verdict``       1 for the verdict that holds, in label ``verdict``: worse, better, no_difference_yet,
                             continue
``spc:canary_since``         Unix time when the variant was first seen; ``spc:canary_at`` when last
``spc:canary_phi``           dispersion, where it is measured; ``spc:canary_pooled`` the rate of both arms together,
                             ``spc:canary_tau`` the difference that matters, ``spc:canary_variance`` of the difference
                             (from ``_spread`` and ``_apart``), ``spc:canary_wide`` that of its interval
``spc:canary_sum``           the sums behind all that, by ``stat``; ``spc:canary_prev`` before this evaluation,
                             ``spc:canary_new`` what it adds, ``spc:canary_arrived`` what arrived in each arm
===========================  =========================================================================================

`backspan.rules.canary_split` adds the check of the traffic's shares.
"""

from __future__ import annotations

from math import log
from typing import Any

from backspan.rules import canary_counts, canary_split, series
from backspan.rules._node import write_duration
from backspan.rules.canary_alert import alert_rule
from backspan.rules.canary_counts import of_variants
from backspan.rules.canary_kinds import LEAST_BATCHES, clustered, either, must_be_sent, names, relative
from backspan.rules.canary_series import VERDICT, own, stat
from backspan.rules.counting import Rule, indent, label, number
from backspan.rules.spec import Canary, Spec
from backspan.spc.sequential import MIN_EXPECTED


def rule_file(spec: Spec, canary: Canary) -> dict[str, Any]:
    """The rule file of one canary, as Prometheus reads it: a group of its own that counts its own events."""
    rules = [*recording(spec, canary), *canary_split.recording(spec, canary)]
    recorded: list[dict[str, Any]] = [{"record": name, "expr": expr} for name, expr in rules]
    group = {
        "name": f"backspan_spc_{canary.name}",
        "interval": write_duration(spec.interval),
        "rules": [*recorded, alert_rule(canary), *canary_split.alert_rules(spec, canary)],
    }
    return {"groups": [group]}


def recording(spec: Spec, canary: Canary) -> list[Rule]:
    """The recording rules of the comparison, in the order in which they must run."""
    return [*canary_counts.recording(spec, canary), *_comparison(canary)]


def limit(canary: Canary) -> float:
    """Evidence at which a verdict falls: ``ln(1 / (2 alpha))``, with alpha shared by the comparisons."""
    shares = len(canary.indicators) * max(1, len(canary.expect) - 1)
    return log(shares / (2.0 * canary.alpha))


# --- comparing ------------------------------------------------------------------------------------------------------
def _comparison(canary: Canary) -> list[Rule]:
    return [
        ("spc:canary_n", f"{_sum(canary, 'n')} > 0"),
        *((f"spc:canary_{which}", f"{_sum(canary, which, of_variants(canary))} and {own('n', canary)}")
          for which in ("control_n", "control_bad")),
        ("spc:canary_bad", f"{_sum(canary, 'bad')} and {own('n', canary)}"),
        ("spc:canary_rate", f"{own('bad', canary)} / {own('n', canary)}"),
        ("spc:canary_control_rate", f"{own('control_bad', canary)} / ({own('control_n', canary)} > 0)"),
        ("spc:canary_difference", f"{own('rate', canary)} - {own('control_rate', canary)}"),
        ("spc:canary_pooled", _pooled(canary)),
        ("spc:canary_tau", _tau(canary)),
        *([("spc:canary_phi", _phi(canary, names(canary, clustered)))] if names(canary, clustered) else []),
        ("spc:canary_spread", _spread(canary)),
        ("spc:canary_apart", _apart(canary)),
        ("spc:canary_variance", _variance(canary)),
        ("spc:canary_wide", _wide(canary)),
        ("spc:canary_evidence", _evidence(canary)),
        ("spc:canary_limit", f"{own('n', canary, of_variants(canary))} * 0 + {number(limit(canary))}"),
        ("spc:canary_half_width", _half_width(canary)),
        ("spc:canary_verdict", _verdict(canary)),
    ]


def _sum(canary: Canary, which: str, *more: str) -> str:
    return f"max without ({series.STAT}) ({own('sum', canary, stat(which), *more)})"


def _pooled(canary: Canary) -> str:
    """Rate of both arms together; only where both have events."""
    n, bad, n0, bad0 = (own(name, canary) for name in ("n", "bad", "control_n", "control_bad"))
    return f"({bad} + {bad0}) / ({n} + ({n0} > 0))"


def _tau(canary: Canary) -> str:
    wanted, tau = names(canary, relative), number(canary.difference)
    pooled = own("pooled", canary)
    return f"{own('pooled', canary, wanted)} * {tau}\nor {pooled} * 0 + {tau}" if wanted else f"{pooled} * 0 + {tau}"


def _phi(canary: Canary, wanted: str) -> str:
    """Scatter between batches around each arm's own rate, over that of a Poisson count of the pooled rate."""
    def squares(prefix: str) -> str:
        xx, n, bad = _sum(canary, f"{prefix}xx"), own(f"{prefix}n", canary), own(f"{prefix}bad", canary)
        return f"({xx} - {bad} * {bad} / {n})"

    free = f"({_sum(canary, 'k')} + {_sum(canary, 'control_k')} - 2 >= {LEAST_BATCHES})"
    phi = f"({squares('')} + {squares('control_')}) / {free} / ({own('pooled', canary, wanted)} > 0)"
    shares = names(canary, lambda one: clustered(one) and not relative(one))
    if not shares:
        return phi
    return f"clamp_min({phi}, 1) and {own('pooled', canary, shares)}\nor {phi}"


def _by_kind(canary: Canary, share: str, rate: str) -> str:
    """An expression for shares and one for rates; ``@`` in them stands for the matcher of the indicator."""
    shares, rates = (names(canary, lambda one, k=kind: one.kind == k) for kind in ("share", "rate"))
    return either(text.replace("@", matcher) for text, matcher in ((share, shares), (rate, rates)) if matcher)


def _spread(canary: Canary) -> str:
    """Variance of the difference if both arms have the pooled rate, but for the dispersion."""
    p, both = own("pooled", canary, "@"), f"(1 / {own('n', canary)} + 1 / {own('control_n', canary)})"
    return _by_kind(canary, f"{p} * (1 - {p}) * {both}", f"{p} * {both}")


def _apart(canary: Canary, added: str = "") -> str:
    """The same if each arm has its own rate; ``added`` is half an event on either outcome."""
    def one(prefix: str, poisson: bool) -> str:
        n, bad = (own(f"{prefix}{name}", canary, "@") for name in ("n", "bad"))
        if poisson:
            return f"({bad}{added}) / {n} / {n}"
        wider = f"({n} + 1)" if added else n
        return f"({bad}{added}) / {wider} * ({n} - {bad}{added}) / {wider} / {wider}"

    share, rate = (f"{one('', poisson)} + {one('control_', poisson)}" for poisson in (False, True))
    return _by_kind(canary, share, rate)


def _variance(canary: Canary) -> str:
    """The pooled one; where few events are expected in the smaller arm, the larger of both."""
    spread, apart = own("spread", canary), own("apart", canary)
    p, n, n0 = (own(name, canary, "@") for name in ("pooled", "n", "control_n"))
    fewer = f"({n} + {n0} - abs({n} - {n0})) / 2 >= {number(MIN_EXPECTED)}"
    enough = _by_kind(canary, f"({p} < 0.5 or 1 - {p}) * {fewer}", f"{p} * {fewer}")
    return _dispersed(canary, f"({spread} and (\n  {indent(enough)}\n))\nor {spread} > {apart}\nor {apart}")


def _wide(canary: Canary) -> str:
    """Variance for the interval: away from no difference, and without any bad event, the pooled one is too small."""
    apart = f"(\n  {indent(_apart(canary, ' + 0.5'))}\n)"
    return _dispersed(canary, f"{own('spread', canary)} > {apart}\nor {apart}")


def _dispersed(canary: Canary, variance: str) -> str:
    """Times the dispersion, where it is measured."""
    wanted = names(canary, clustered)
    if not wanted:
        return variance
    inner = f"(\n  {indent(variance)}\n)"
    return f"{inner} * ({own('phi', canary)} > 0)\nor {inner} unless {own('pooled', canary, wanted)}"


def _evidence(canary: Canary) -> str:
    s2, tau, d = (own(name, canary) for name in ("variance", "tau", "difference"))
    tau2, s2 = f"({tau} * {tau})", f"({s2} > 0)"
    both = f"({s2} + {tau2})"
    mixture = f"0.5 * ln({s2} / {both})\n+ {tau2} * {d} * {d} / (2 * {s2} * {both})"
    return f"{mixture}\nor {own('n', canary, of_variants(canary))} * 0"


def _half_width(canary: Canary) -> str:
    s2, tau = own("wide", canary), own("tau", canary)
    both = f"({s2} + {tau} * {tau})"
    return f"sqrt({s2} * {both} / ({tau} * {tau}) * ({number(2 * limit(canary))} + ln({both} / {s2})))"


# --- the verdict ----------------------------------------------------------------------------------------------------
def _verdict(canary: Canary) -> str:
    n, n0, d = (own(name, canary, of_variants(canary)) for name in ("n", "control_n", "difference"))
    enough = f"{n} >= {canary.min_n} and {n0} >= {canary.min_n}{_sent(canary)}"
    decided = f"({own('evidence', canary)} >= {own('limit', canary)}) and ({enough})"
    same = f"abs({d}) + {own('half_width', canary)} < {own('tau', canary)} and ({enough})"
    worse, better = _directions(canary)
    said = {"worse": f"({worse}) and {decided}", "better": f"({better}) and {decided}",
            "no_difference_yet": same, "continue": n}
    return f"\nor ignoring ({VERDICT}) ".join(
        label(f"({indent(condition)}) * 0 + 1", VERDICT, name) for name, condition in said.items())


def _sent(canary: Canary) -> str:
    wanted = names(canary, must_be_sent)
    if not wanted:
        return ""
    bad, bad0 = own("bad", canary, wanted), own("control_bad", canary, wanted)
    silent = f"({bad} == 0 or {bad0} == 0)"
    return f" unless {silent}"


def _directions(canary: Canary) -> tuple[str, str]:
    """Differences in the direction that is worse, and in the other."""
    up, down = names(canary, lambda one: not one.falls), names(canary, lambda one: one.falls)
    signs = [(matcher, *signs) for matcher, signs in ((up, (">", "<")), (down, ("<", ">"))) if matcher]
    worse = either(f"{own('difference', canary, matcher)} {sign} 0" for matcher, sign, _ in signs)
    better = either(f"{own('difference', canary, matcher)} {sign} 0" for matcher, _, sign in signs)
    return worse, better
