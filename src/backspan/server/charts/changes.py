"""What was new around the onset of an alert: versions, models and indexes first seen, documents found more often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection

from backspan import semconv
from backspan.server.charts.evidence import DIMENSIONS
from backspan.store import history
from backspan.store.turns import dims_of

Json = dict[str, Any]
_MOST = 20
_KEYS = (*DIMENSIONS, semconv.INDEX_NAME)


@dataclass
class _Seen:
    """One value of a dimension, or one document: when it came first, and in how many answers on each side."""

    first: float
    last: float
    before: int = 0
    after: int = 0

    def note(self, time: float, late: bool) -> None:
        """One more answer."""
        self.last = max(self.last, time)
        if late:
            self.after += 1
        else:
            self.before += 1


@dataclass
class _Ledger:
    values: dict[tuple[str, str], _Seen] = field(default_factory=dict[tuple[str, str], _Seen])
    documents: dict[str, _Seen] = field(default_factory=dict[str, _Seen])
    answers: Counter[bool] = field(default_factory=Counter[bool])
    empty: Counter[bool] = field(default_factory=Counter[bool])
    found: Counter[bool] = field(default_factory=Counter[bool])


def facts(conn: Connection, labels: Mapping[str, str], before: float, since: float, until: float) -> Json:
    """``changes``: values that came or went, newest first. ``documents``: what was retrieved, before and since."""
    ledger = _Ledger()
    for turn in history.turns_between(conn, before, until):
        said = {**dims_of(turn), semconv.RESPONSE_MODEL: turn["response_model"], semconv.INDEX_NAME: turn["index_name"]}
        if all(said.get(key, "") == value for key, value in labels.items()):
            _note(ledger, turn, said, turn["ended"] >= since)
    return {"changes": _changes(ledger), "documents": _documents(ledger)}


def _note(ledger: _Ledger, turn: Mapping[str, Any], said: Mapping[str, str], late: bool) -> None:
    at = turn["ended"]
    ledger.answers[late] += 1
    for key in _KEYS:
        if said.get(key):
            ledger.values.setdefault((key, said[key]), _Seen(at, at)).note(at, late)
    ids = {str(document["id"]) for document in turn["documents"] or () if document.get("id") is not None}
    if turn["documents"] is not None:
        ledger.found[late] += bool(ids)
        ledger.empty[late] += not ids
    for id in ids:
        ledger.documents.setdefault(id, _Seen(at, at)).note(at, late)


def _changes(ledger: _Ledger) -> list[Json]:
    """Values seen on one side of the onset only, of dimensions that have values on both sides or several values."""
    several = Counter(key for key, _ in ledger.values)
    found: list[Json] = [
        {"key": key, "value": value, "what": "came" if not seen.before else "went", "first": seen.first,
         "last": seen.last, "before": seen.before, "after": seen.after}
        for (key, value), seen in ledger.values.items()
        if several[key] > 1 and bool(seen.before) is not bool(seen.after)
    ]
    return sorted(found, key=lambda one: -one["first"])[:_MOST]


def _documents(ledger: _Ledger) -> Json:
    sides = {
        name: {"answers": ledger.answers[late], "with_documents": ledger.found[late], "without": ledger.empty[late],
               "distinct": sum(bool(seen.after if late else seen.before) for seen in ledger.documents.values())}
        for name, late in (("before", False), ("after", True))}
    came: list[Json] = [{"id": id, "first": seen.first, "answers": seen.after}
            for id, seen in ledger.documents.items() if not seen.before and seen.after]
    went: list[Json] = [{"id": id, "last": seen.last, "answers": seen.before}
            for id, seen in ledger.documents.items() if seen.before and not seen.after]
    return {**sides, "came": sorted(came, key=lambda one: -one["answers"])[:_MOST],
            "went": sorted(went, key=lambda one: -one["answers"])[:_MOST]}
