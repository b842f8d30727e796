"""Facts about an incident from `GET /api/explain` of `backspan up`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from backspan.cli._spc.facts import Cell, Facts, Numbers, Pair
from backspan.cli._spc.http import mapping

OTHERS = "(the others)"


def read(document: Mapping[str, Any], worse_down: bool) -> Facts:
    """The facts of an answer; what it does not say is not known."""
    before, after = _cell(document.get("before")), _cell(document.get("after"))
    rated = Pair(before, after)
    since = _number(document.get("since"))
    return Facts(
        rated=rated,
        answers=_answers(document),
        raters=_raters(mapping(document.get("raters"))),
        reasons=_reasons(document.get("reasons")),
        calls=_calls(mapping(document.get("calls"))),
        retrievals=_retrievals(mapping(document.get("documents"))),
        tokens=_tokens(mapping(document.get("calls"))),
        dimensions={str(row["key"]): _dimension(row, rated) for row in document.get("dimensions") or ()},
        changed=_changed(document.get("changes")),
        since=since,
        before=_span(document.get("from"), since),
        after=_span(since, document.get("until")),
        traces=tuple(dict.fromkeys(str(row["trace_id"]) for row in document.get("samples") or ())),
        worse_down=worse_down,
    )


def _number(value: Any) -> float | None:
    return None if value is None else float(value)


def _span(start: Any, end: Any) -> tuple[float, float] | None:
    return None if start is None or end is None else (float(start), float(end))


def _cell(value: Any) -> Cell:
    said = mapping(value)
    return Cell(float(said.get("n") or 0), float(said.get("bad") or 0))


def _sides(value: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    return (mapping(value["before"]), mapping(value["after"])) if "before" in value and "after" in value else None


def _answers(document: Mapping[str, Any]) -> tuple[float, float] | None:
    sides = _sides(mapping(document.get("coverage")))
    if sides is None:
        return None
    return float(sides[0].get("answers") or 0), float(sides[1].get("answers") or 0)


def _raters(value: Mapping[str, Any]) -> Numbers:
    said = mapping(value.get("after"))
    top = mapping(said.get("top_bad"))
    if not top:
        return {}
    found = {"known": float(top.get("of") or 0), "top": float(top.get("n") or 0),
             "raters": float(said.get("distinct") or 0)}
    return {**found, "suspect": float(said["suspect"])} if said.get("suspect") is not None else found


def _reasons(rows: Any) -> tuple[Numbers, Numbers] | None:
    if rows is None:
        return None
    before = {str(row["reason"]): float(mapping(row.get("before")).get("n") or 0) for row in rows}
    return before, {str(row["reason"]): float(row["n"]) for row in rows}


def _calls(value: Mapping[str, Any]) -> tuple[Numbers, Numbers] | None:
    sides = _sides(value)
    if sides is None or not all(side.get("n") for side in sides):
        return None
    keys = ("n", "errors", "slow", "truncated", "refused")
    before, after = ({key: float(side[key]) for key in keys if side.get(key) is not None} for side in sides)
    return before, after


def _tokens(value: Mapping[str, Any]) -> tuple[Numbers, Numbers] | None:
    sides = _sides(value)
    if sides is None:
        return None
    before, after = (
        {key: float(side[f"{key}_tokens"]) for key in ("input", "output") if side.get(f"{key}_tokens") is not None}
        for side in sides)
    return before, after


def _retrievals(value: Mapping[str, Any]) -> tuple[Numbers, Numbers] | None:
    sides = _sides(value)
    if sides is None:
        return None
    before, after = (
        {"n": float(side.get("with_documents") or 0) + float(side.get("without") or 0),
         "empty": float(side.get("without") or 0)} for side in sides)
    return before, after


def _dimension(row: Mapping[str, Any], rated: Pair) -> dict[str, Pair]:
    """The value that differs, and all the others together."""
    mine = Pair(_cell(row.get("before")), _cell(row.get("after")))
    rest = Pair(_less(rated.before, mine.before), _less(rated.after, mine.after))
    return {str(row["value"]): mine, OTHERS: rest}


def _less(all_: Cell, part: Cell) -> Cell:
    return Cell(max(all_.n - part.n, 0.0), max(all_.bad - part.bad, 0.0))


def _changed(rows: Any) -> frozenset[str] | None:
    return None if rows is None else frozenset(str(row["key"]) for row in rows)
