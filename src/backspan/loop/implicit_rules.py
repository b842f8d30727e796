"""The rules of implicit signals: what a turn's surroundings say of its answer. Pure: no clock, no database.

Each rule looks at one answer, and gives a `Hit` or nothing. What was found is told in numbers and ids, never in words.
Thresholds, priors and phrases are those of `backspan.feedback.signals`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from backspan.feedback import texts
from backspan.feedback.signals import Catalogue, Signal
from backspan.store.schema import dumps

Row = Mapping[str, Any]
_CUT = frozenset(("closed", "cancelled"))
"""Outcomes of a stream that its reader has ended."""
_BROKEN = frozenset(("failed", "disconnected", "incomplete"))
_REFUSED = frozenset(("content_filter", "refusal", "safety"))
_COPIES = ("implicit_copy", "implicit_code_copy")
_LETTERS_A_TOKEN = 4
"""Characters of a token, where the provider did not count them."""


@dataclass(frozen=True)
class Hit:
    """A signal about the answer of a turn.

    Attributes:
        signal: which.
        value: strength of the evidence.
        time: Unix seconds of what happened.
        found: numbers and ids that it rests on.
    """

    signal: Signal
    value: float
    time: float
    found: Mapping[str, Any]


@dataclass
class Case:
    """An answer and what surrounds it.

    Attributes:
        turn: the turn.
        next, previous: its neighbours in the conversation.
        later: the turns after it in the conversation.
        others: turns of the same user in other conversations, after it.
        votes: feedback on it, by name, as it stands or stood.
        evidence: what rules have found of it, by signal.
        before: what rules have found of the previous turn, by signal.
        messages, next_messages: what models were asked, here and in the next turn.
        lacks: what the rules would need to know more, by name.
    """

    turn: Row
    next: Row | None = None
    previous: Row | None = None
    later: Sequence[Row] = ()
    others: Sequence[Row] = ()
    votes: Mapping[str, Row] = field(default_factory=dict[str, Row])
    evidence: Mapping[str, Row] = field(default_factory=dict[str, Row])
    before: Mapping[str, Row] = field(default_factory=dict[str, Row])
    messages: Sequence[Any] = ()
    next_messages: Sequence[Any] = ()


def hits(case: Case, known: Catalogue, now: float) -> Iterator[Hit]:
    """Every signal about the answer of ``case``, as far as what is known of it goes."""
    again = _regenerate(case, known)
    other_words = None if again else _reformulation(case, known)
    yield from filter(None, (
        again, other_words, _acknowledged(case, known), _corrected(case, known), _repeated(case, known),
        _stopped(case, known), _copied_in_vain(case, known), _cited_in_vain(case, known, other_words),
        _edited(case, known), _abandoned(case, known, now)))


def lacks(case: Case) -> str | None:
    """What a case lacks for the rules that read text: ``text``, or None."""
    return None if case.turn["query"] else "text"


# --- the next question ----------------------------------------------------------------------------------------------
def _regenerate(case: Case, known: Catalogue) -> Hit | None:
    signal, after = known.signals["regenerate"], case.next
    if after is None or case.turn["error"] or case.turn["outcome"] in _BROKEN:
        return None
    gap = after["started"] - case.turn["ended"]
    asked = {dumps(messages) for messages in case.messages}
    if gap > signal.limits["gap"] or not any(dumps(messages) in asked for messages in case.next_messages):
        return None
    return _hit(signal, after["started"], gap=gap, next=after["turn_id"])


def _reformulation(case: Case, known: Catalogue) -> Hit | None:
    signal, after = known.signals["reformulation"], case.next
    if after is None or not case.turn["query"] or not after["query"] or _thanks(after["query"], known):
        return None
    gap = after["started"] - case.turn["ended"]
    alike = texts.similarity(case.turn["query"], after["query"])
    if gap > signal.limits["gap"] or alike < signal.limits["similar"]:
        return None
    cues = known.cues["correction"] + known.cues["again"]
    strong = alike >= signal.limits["strong"] or texts.cue(after["query"], cues)
    value = signal.bands[-1 if strong else 0].prior
    return Hit(signal, value, after["started"], {"similarity": round(alike, 1), "gap": gap, "next": after["turn_id"]})


def _thanks(text: str, known: Catalogue) -> bool:
    most = known.signals["follow_up_ack"].limits["words"]
    return (texts.words(text) <= most and "?" not in text and texts.cue(text, known.cues["ack"])
            and not texts.cue(text, known.cues["negation"] + known.cues["error"]))


def _acknowledged(case: Case, known: Catalogue) -> Hit | None:
    after = case.next
    if after is None or not after["query"] or not _thanks(after["query"], known):
        return None
    return _hit(known.signals["follow_up_ack"], after["started"], next=after["turn_id"])


def _corrected(case: Case, known: Catalogue) -> Hit | None:
    """A contradiction: the message begins with one, or has one and takes something up from the answer."""
    after, cues = case.next, known.cues["correction"]
    if after is None or not after["query"]:
        return None
    first = texts.cue(after["query"], cues, first=True)
    taken_up = bool(case.turn["answer"]) and texts.shares(after["query"], case.turn["answer"])
    if not first and not (taken_up and texts.cue(after["query"], cues)):
        return None
    return _hit(known.signals["follow_up_correction"], after["started"], first=first, next=after["turn_id"])


# --- the same question elsewhere ------------------------------------------------------------------------------------
def _repeated(case: Case, known: Catalogue) -> Hit | None:
    signal = known.signals["repeat_question"]
    for other in case.others:
        gap = other["started"] - case.turn["ended"]
        if gap > signal.limits["gap"] or not case.turn["query"] or not other["query"]:
            continue
        alike = texts.similarity(case.turn["query"], other["query"])
        if alike >= signal.limits["similar"]:
            return _hit(signal, other["started"], similarity=round(alike, 1), gap=gap, next=other["turn_id"])
    return None


# --- the answer itself ----------------------------------------------------------------------------------------------
def _stopped(case: Case, known: Catalogue) -> Hit | None:
    """The reader ended the stream. Half the weight: a lost connection looks the same from here."""
    signal, turn = known.signals["stop"], case.turn
    tokens = turn["output_tokens"] or len(turn["answer"] or "") // _LETTERS_A_TOKEN
    if turn["outcome"] not in _CUT or tokens < signal.limits["tokens"]:
        return None
    return Hit(signal, signal.limits["weak"], turn["ended"], {"tokens": tokens})


def _copied_in_vain(case: Case, known: Catalogue) -> Hit | None:
    signal = known.signals["copy_then_error"]
    copies = [vote for name in _COPIES if (vote := case.votes.get(name)) is not None and _counts(vote, case, signal)]
    names = texts.identifiers(case.turn["answer"] or "") if copies else frozenset[str]()
    for later in case.later if names else ():
        gaps = [later["started"] - copy["time"] for copy in copies if later["started"] >= copy["time"]]
        gap = min(gaps, default=None)
        if gap is None or gap > signal.limits["gap"] or not later["query"]:
            continue
        if texts.cue(later["query"], known.cues["error"]) and texts.mentions(later["query"], names):
            return _hit(signal, later["started"], gap=gap, next=later["turn_id"])
    return None


def _cited_in_vain(case: Case, known: Catalogue, again: Hit | None) -> Hit | None:
    """A source was looked at so shortly that there was time for little but to ask ``again`` (a reformulation)."""
    signal, click = known.signals["citation_in_vain"], case.votes.get("implicit_citation_click")
    if again is None or click is None or click["op"] == "retract":
        return None
    gap = again.time - click["time"]
    return _hit(signal, again.time, gap=gap, next=again.found["next"]) if 0 <= gap <= signal.limits["gap"] else None


def _counts(vote: Row, case: Case, signal: Signal) -> bool:
    """A copy that stands, or that this very rule has taken back."""
    return vote["op"] != "retract" or signal.name in case.evidence


def _edited(case: Case, known: Catalogue) -> Hit | None:
    signal, vote = known.signals["edit_distance"], case.votes.get("user_correction")
    if vote is None or vote["op"] == "retract" or not vote["correction"] or not case.turn["answer"]:
        return None
    limits = signal.limits
    far = texts.edit_distance(case.turn["answer"], vote["correction"], shortest=limits["shortest"],
                              longest=limits["longest"])
    return None if far is None else Hit(signal, round(far, 4), vote["time"], {})


# --- the end --------------------------------------------------------------------------------------------------------
def _abandoned(case: Case, known: Catalogue, now: float) -> Hit | None:
    """The conversation rests after this answer, and something else speaks against it: leaving alone is no failure."""
    signal, turn = known.signals["abandonment"], case.turn
    if case.next is not None or not turn["conversation_id"] or now - turn["ended"] < signal.limits["quiet"]:
        return None
    against = _against(case, known)
    return _hit(signal, turn["ended"] + signal.limits["quiet"], because=against) if against else None


def _against(case: Case, known: Catalogue) -> str | None:
    dwell = case.votes.get("implicit_dwell")
    if case.before.get("reformulation") or case.before.get("follow_up_correction"):
        return "asked_again"
    if dwell is not None and dwell["value"] is not None and dwell["value"] < known.signals["dwell"].limits["skim"]:
        return "skimmed"
    if case.turn["error"] or case.turn["outcome"] in _BROKEN or case.turn["finish"] in _REFUSED:
        return "failed"
    stop = case.votes.get("implicit_stop")
    return "stopped" if stop is not None and stop["op"] != "retract" else None


def _hit(signal: Signal, time: float, **found: Any) -> Hit:
    return Hit(signal, signal.bands[-1].prior, time, found)
