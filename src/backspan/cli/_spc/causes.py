"""What may have caused an incident, most likely first, with what speaks for and against each: `rank`.

The rules are plain points, so that a reader can follow them. A cause is named from `NAMED` points on. Every comparison
of before and after must be significant (`risen`: 3.3 standard errors, 0.1 %) and large enough to matter.

======================  ================================================================  ==========================
cause                   for                                                               against
======================  ================================================================  ==========================
few raters              +3 one rater gave half of the bad votes, +1.5 a quarter;          -2.5 many raters, nobody
                        +2 a third of them is marked suspect;                             gave a tenth; -2 without the
                        +1.5 three raters or fewer gave twenty                            busiest one it is still bad
feedback form           +3 ratings per answer changed threefold, +2 by half;              -2 ratings per answer are as
                        +1 reasons per bad vote changed twofold                           they were
errors, latency,        +3 their share rose threefold, +2 by half;                        -1 only one version or
truncation, refusals    +1 reasons that say so have risen                                 model is worse
change of KEY           +2 a value appeared with the change; +2 it is worse than the      -2 it is no worse than the
(prompt version, model, rest; +1.5 it is worse than what it replaced;                     others; -1 the others have
index, variant)         +2.5 traffic moved to values that always were worse;              become worse as well
                        +1.5 one old value alone has become worse
input drift             +2.5 the drift score rose by half; +2 more empty or weak          -1.5 the index changed at the
                        retrievals; +2 another mix of segments;                           same time; -.5 inputs are as
                        +1.5 inputs are longer or shorter                                 long as before
concept drift           +1 nothing was changed; +1 every version, model and segment is    -3 for each better
                        worse alike; +1 inputs are as before; +.5 many raters;            explanation
                        +.5 errors and latency are as before
======================  ================================================================  ==========================

Concept drift (people judge the same answers otherwise, or the world has changed) leaves no trace of its own, so that it
is what remains; a better explanation is any other cause from `NAMED` points on.
"""

from __future__ import annotations

from collections.abc import Mapping

from backspan import semconv
from backspan.cli._spc.changes import CHANGES, change
from backspan.cli._spc.comparing import Cause, fold_of, is_new, moved_by, others_of, percent, risen, worsened
from backspan.cli._spc.facts import Cell, Facts, Pair

NAMED = 1.5
"""Least score at which a cause is named."""
_TROUBLE = {
    "errors": ("errors", ("error", "fail", "crash")),
    "slow": ("latency", ("slow", "latency", "timeout", "wait")),
    "truncated": ("truncation", ("trunc", "incomplete", "cut", "unfinished", "too_short")),
    "refused": ("refusals", ("refus", "declin")),
}


def rank(facts: Facts) -> list[Cause]:
    """The causes that have something for them, most likely first."""
    changes = [change(facts, key, values) for key, values in facts.dimensions.items() if key in CHANGES]
    found = [_raters(facts), _form(facts), *_troubles(facts), *changes, _input(facts)]
    named = [cause for cause in found if cause.score >= NAMED]
    concept = _concept(facts, named)
    if concept.score >= NAMED:
        named.append(concept)
    return sorted(named, key=lambda cause: -cause.score)


# --- feedback data --------------------------------------------------------------------------------------------------
def _raters(facts: Facts) -> Cause:
    cause, said = Cause("few raters"), facts.raters
    known, top = said.get("known", 0.0), said.get("top", 0.0)
    if said.get("share", 0.0) >= 0.25:
        cause.pro(3.0 if said["share"] >= 0.5 else 1.5, f"one rater gives {said['share']:.0%} of all judgements")
    if known < 10:
        return cause
    share, raters = top / known, said.get("raters", 0.0)
    if share >= 0.25:
        cause.pro(3.0 if share >= 0.5 else 1.5, f"one rater gave {share:.0%} of {known:,.0f} bad votes")
    suspect = said.get("suspect", 0.0)
    if suspect / known >= 1 / 3:
        cause.pro(2.0, f"{suspect / known:.0%} of the bad votes are marked suspect")
    if 0 < raters <= 3 and known >= 20:
        cause.pro(1.5, f"{known:,.0f} bad votes come from {raters:.0f} rater{'s' if raters > 1 else ''}")
    if raters >= 20 and share < 0.1:
        cause.con(2.5, f"{raters:,.0f} raters stand behind the bad votes, nobody gave a tenth of them")
    rest = _without_top(facts, top)
    if share >= 0.25 and rest is not None and facts.rated and worsened(facts.rated.before, rest, facts):
        cause.con(2.0, f"without that rater it is still {percent(rest)}")
    return cause


def _without_top(facts: Facts, top: float) -> Cell | None:
    if facts.rated is None:
        return None
    after = facts.rated.after
    return Cell(after.n - top, max(after.bad - top, 0.0)) if after.n > top else None


def _form(facts: Facts) -> Cause:
    cause = Cause("feedback form")
    if facts.answers and facts.rated:
        (a0, a1), rated = facts.answers, facts.rated
        fold = moved_by((rated.before.n, a0), (rated.after.n, a1))
        if a0 and a1:
            was, now = rated.before.n / a0, rated.after.n / a1
            text = f"ratings per answer: {was:.1%} before, {now:.1%} since"
            if fold >= 1.5:
                cause.pro(3.0 if fold >= 3 else 2.0, text)
            elif fold_of(was, now) < 1.25:
                cause.con(2.0, text)
    if facts.reasons and facts.rated:
        before, after = (sum(reasons.values()) for reasons in facts.reasons)
        fold = moved_by((before, facts.rated.before.bad), (after, facts.rated.after.bad))
        if fold >= 2:
            cause.pro(1.0, f"reasons per bad vote changed {fold:.1f}-fold")
    return cause


# --- infrastructure -------------------------------------------------------------------------------------------------
def _troubles(facts: Facts) -> list[Cause]:
    return [_trouble(facts, key, name, words) for key, (name, words) in _TROUBLE.items()] if facts.calls else []


def _trouble(facts: Facts, key: str, name: str, words: tuple[str, ...]) -> Cause:
    cause = Cause(name)
    before, after = facts.calls or ({}, {})
    if key not in before or key not in after:
        return cause
    was, now = Cell(before.get("n", 0.0), before[key]), Cell(after.get("n", 0.0), after[key])
    fold = fold_of(was.rate, now.rate)
    if risen(was, now) and fold >= 1.5:
        cause.pro(3.0 if fold >= 3 else 2.0, f"{name}: {percent(was)} calls before, {percent(now)} since")
    else:
        return cause
    lifted = [reason for reason, lift in lifts(facts).items() if lift >= 1.5 and any(w in reason for w in words)]
    if lifted:
        cause.pro(1.0, f"more often given as reason: {', '.join(lifted)}")
    alone = _alone(facts)
    if alone:
        cause.con(1.0, f"only {alone} is worse")
    return cause


def lifts(facts: Facts) -> dict[str, float]:
    """How many times as often a bad vote gives each reason as before; reasons with five or more, the most first."""
    if not facts.reasons or not facts.rated:
        return {}
    before, after = facts.reasons
    n0, n1 = max(facts.rated.before.bad, 1.0), max(facts.rated.after.bad, 1.0)
    common = {reason: count for reason, count in after.items() if count >= 5}
    return {
        reason: (count / n1) / ((before.get(reason, 0.0) + 0.5) / n0)
        for reason, count in sorted(common.items(), key=lambda item: -item[1])
    }


def _alone(facts: Facts) -> str:
    """The one value of a dimension that is worse than all others since the change; "" if there is none."""
    for key, values in facts.dimensions.items():
        for value, pair in values.items():
            rest = others_of(values, value)
            others = [other for name, other in values.items() if name != value]
            spread = any(worsened(other.before, other.after, facts) for other in others)
            if key in CHANGES and worsened(rest.after, pair.after, facts) and not spread:
                return f"{CHANGES[key]} {value or '(none)'}"
    return ""


# --- inputs and the world -------------------------------------------------------------------------------------------
def _input(facts: Facts) -> Cause:
    cause = Cause("input drift")
    if facts.drift and facts.drift[1] >= 0.1 and facts.drift[1] >= 1.5 * facts.drift[0]:
        cause.pro(2.5, f"drift score of the inputs: {facts.drift[0]:.2f} before, {facts.drift[1]:.2f} since")
    for key in ("empty", "weak"):
        text = _retrieval(facts, key)
        if text:
            cause.pro(2.0, text)
    segments = facts.dimensions.get(semconv.SEGMENT)
    mix = _mix_shift(segments) if segments else ""
    if mix:
        cause.pro(2.0, mix)
    length = _length(facts)
    if length is not None:
        moved, text = length
        if moved:
            cause.pro(1.5, text)
        elif cause.score:
            cause.con(0.5, text)
    index = facts.dimensions.get(semconv.INDEX_VERSION) or {}
    swapped = semconv.INDEX_VERSION in (facts.changed or ())
    if cause.score and (swapped or any(is_new(index, pair) and pair.after.n for pair in index.values())):
        cause.con(1.5, "the index changed at the same time")
    return cause


def _retrieval(facts: Facts, key: str) -> str:
    before, after = facts.retrievals or ({}, {})
    if key not in before or key not in after:
        return ""
    was, now = Cell(before.get("n", 0.0), before[key]), Cell(after.get("n", 0.0), after[key])
    if not risen(was, now) or fold_of(was.rate, now.rate) < 1.5:
        return ""
    return f"{key} retrievals: {percent(was)} before, {percent(now)} since"


def _mix_shift(values: Mapping[str, Pair]) -> str:
    """The value whose share of the ratings has grown the most, if that is significant and by ten points."""
    n0, n1 = (sum(getattr(pair, side).n for pair in values.values()) for side in ("before", "after"))
    grown = [(Cell(n0, pair.before.n), Cell(n1, pair.after.n), value) for value, pair in values.items()]
    grown = [(was, now, value) for was, now, value in grown if risen(was, now) and now.rate - was.rate >= 0.1]
    if not grown:
        return ""
    was, now, value = max(grown, key=lambda row: row[1].rate - row[0].rate)
    return f"segment {value or '(none)'}: {was.rate:.0%} of the ratings before, {now.rate:.0%} since"


def _length(facts: Facts) -> tuple[bool, str] | None:
    """Whether the inputs are longer or shorter than before, and the words for it; None if that is not known."""
    before, after = facts.tokens or ({}, {})
    if not before.get("input") or not after.get("input"):
        return None
    was, now, sd = before["input"], after["input"], before.get("input_sd", 0.0)
    moved = abs(now - was) >= 0.5 * sd if sd else fold_of(was, now) >= 1.3
    return moved, f"mean input: {was:,.0f} tokens before, {now:,.0f} since"


def _concept(facts: Facts, named: list[Cause]) -> Cause:
    cause = Cause("concept drift")
    if facts.rated is None or not worsened(facts.rated.before, facts.rated.after, facts):
        return cause
    steady = _unchanged(facts)
    if steady:
        cause.pro(1.0, f"nothing was changed: {steady}")
    if facts.dimensions and _alike(facts):
        cause.pro(1.0, "every version, model and segment is worse alike")
    length = _length(facts)
    if (length and not length[0]) or (facts.drift and facts.drift[1] < 1.5 * max(facts.drift[0], 0.1)):
        cause.pro(1.0, "the inputs are as before")
    if facts.raters.get("raters", 0.0) >= 20:
        cause.pro(0.5, f"{facts.raters['raters']:,.0f} raters agree")
    if facts.calls and not any(one.for_ for one in _troubles(facts)):
        cause.pro(0.5, "errors and latency are as before")
    for other in named:
        cause.con(3.0, f"a better explanation: {other.name}")
    return cause


def _unchanged(facts: Facts) -> str:
    """What is known to be as before; "" if something was changed, or nothing is known."""
    known = {key: values for key, values in facts.dimensions.items() if key in CHANGES}
    appeared = any(is_new(values, pair) and pair.after.n for values in known.values() for pair in values.values())
    if appeared or (facts.changed and facts.changed & set(CHANGES)):
        return ""
    if facts.changed is not None:
        return "prompt, model, index and variant are as before"
    return f"{', '.join(CHANGES[key] for key in known)} as before" if known else ""


def _alike(facts: Facts) -> bool:
    """Tell whether every value with enough ratings has at least half of the change; two of one key at least."""
    big = [[pair for pair in values.values() if min(pair.before.n, pair.after.n) >= 50]
           for values in facts.dimensions.values()]
    pairs = [pair for group in big for pair in group]
    rise = facts.rated.after.rate - facts.rated.before.rate if facts.rated else 0.0
    grown = all((pair.after.rate - pair.before.rate) * rise >= 0.5 * rise * rise for pair in pairs)
    return grown and any(len(group) >= 2 for group in big)
