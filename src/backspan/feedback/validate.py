"""Validation: from keyword arguments or a decoded JSON body to judgements and targets, with precise errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any, Final

from backspan import semconv
from backspan.context import Target
from backspan.feedback import fields
from backspan.feedback.fields import CODE, MAX_COMMENT, MAX_ID, InvalidFeedback
from backspan.feedback.taxonomy import COMPARISON, Taxonomy
from backspan.feedback.taxonomy_file import current
from backspan.feedback.verdicts import Judgement, correction, named, retracted, source_of, stars, thumbs

JUDGEMENT_FIELDS: Final = ("thumbs", "stars", "name", "value", "label", "polarity", "reasons", "comment", "correction",
                           "source", "solicited", "retract", "scale", "quote", "skip", *fields.CIRCUMSTANCES)
TARGET_FIELDS: Final = ("trace_id", "span_id", "trace_flags", "response_id", "conversation_id", "turn_id", "dims", "at")
OTHER_FIELDS: Final = ("token", "rater")
"""Fields of a request body that are neither the judgement nor the target's ids."""


def parse(
    payload: Mapping[str, Any], *, names: Collection[str] | None = None, source: str | None = None,
    taxonomy: Taxonomy | None = None,
) -> list[Judgement]:
    """Validate ``payload`` and return one judgement per name in it, at least one.

    - ``thumbs`` (``True``/``"up"``, ``False``/``"down"``): `user_thumbs`, 1.0 ``pass`` positive or 0.0 ``fail``
      negative.
    - ``stars`` (1 to 5): `user_stars`; 1-2 ``fail`` negative, 3 ``neutral`` neutral, 4-5 ``pass`` positive.
    - ``correction`` (text): `user_correction`, no score, ``corrected``, negative.
    - ``name`` with ``value`` (finite number or boolean), ``label``, or both: any name that starts with one of
      `semconv.NAME_PREFIXES`. A boolean means 1.0/0.0 with ``pass``/``fail``. ``polarity`` may be given; else it
      follows from the label (``pass``, ``win``: positive; ``fail``, ``loss``: negative), else it is neutral. Of the
      signals of `backspan.feedback.signals` the catalogue says it.

    What the taxonomy declares of a name is held to, and a number under a ``user_`` name needs a declared ``scale``.

    ``reasons`` and ``comment`` belong to the first of thumbs, stars, name, correction that is given; ``quote`` (a part
    of the answer: ``text``, ``start``, ``end``) to the correction if there is one, else to the first; ``solicited``
    (a boolean: was it asked for) and what else says how it came about (`fields.circumstances`) to all of them. With
    ``retract`` the names count, not the values; with ``skip`` too: the question was seen and passed over.

    Args:
        payload: keyword arguments or a decoded JSON object; a value of None means absent. `TARGET_FIELDS` and
            `OTHER_FIELDS` are let through unread, any other unknown field is refused.
        names: names allowed (a token's claim; ``user_*`` forms allow a prefix), or None for all.
        source: forces the source, whatever the payload says (a browser cannot call itself a reviewer). Else
            ``source`` in the payload, else what the name's prefix says.
        taxonomy: what is declared; None: the one of this process.

    Raises:
        InvalidFeedback: with the first field that is wrong.
    """
    declared = taxonomy or current()
    given = {key: value for key, value in payload.items() if value is not None}
    if given.get("comment") == "":  # what an untouched form field sends
        del given["comment"]
    _refuse_unknown(given)
    retract, skip = fields.flag(given, "retract"), fields.flag(given, "skip")
    verdicts = _verdicts(given, retract or skip, declared)
    if not verdicts and (retract or skip):
        raise InvalidFeedback("name", f"is needed: which judgement is {'taken back' if retract else 'skipped'}")
    if not verdicts:
        raise InvalidFeedback("thumbs", "give thumbs, stars, correction, or name with value or label")
    _check_names(verdicts, names)
    for one in verdicts if skip else ():  # a question that is counted has to be one that is asked
        declared.check_name(one.name)
    first = replace(verdicts[0], reasons=fields.reasons(given), comment=fields.text(given, "comment", MAX_COMMENT))
    if not (retract or skip) and first.reasons and first.name.startswith("user_"):
        declared.check_reasons(first.reasons, first.polarity)
    said, solicited = fields.choice(given, "source", semconv.SOURCES), fields.optional_flag(given, "solicited")
    how = fields.circumstances(given)
    return [
        replace(one, source=source or said or source_of(one.name), retract=retract, solicited=solicited, skip=skip,
                circumstances=how)
        for one in _quoted(given, [first, *verdicts[1:]])
    ]


def bare(
    given: Mapping[str, Any], names: Collection[str] | None = None, source: str | None = None,
) -> Judgement:
    """What a comparison says beside its candidates: name (`user_preference` unless it is given), reasons, comment, ....

    Raises:
        InvalidFeedback: also for a name that is not of a comparison, and for a verdict that the ranks say already.
    """
    name = given.get("name", semconv.USER_PREFERENCE)
    stray = next((key for key in (*_VERDICT_FIELDS, "skip", "quote") if given.get(key) is not None), None)
    if stray is not None:
        raise InvalidFeedback(stray, "the ranks of the candidates say it")
    declared = current().check_name(fields.name({"name": name}))
    if declared is None or declared.type != COMPARISON:
        raise InvalidFeedback("name", f"{name} is not declared as a comparison")
    rest = {key: value for key, value in given.items() if key not in ("name", "reasons")}
    (one,) = parse({**rest, "name": name, "label": "tie"}, names=names, source=source)
    return replace(one, reasons=fields.reasons(given))


_VERDICT_FIELDS: Final = ("thumbs", "stars", "correction", "value", "label", "polarity", "scale")


def _quoted(given: Mapping[str, Any], verdicts: list[Judgement]) -> list[Judgement]:
    """Hand the quotation to the correction, else to the first verdict."""
    quote = fields.quote(given)
    if quote is None:
        return verdicts
    place = next((i for i, one in enumerate(verdicts) if one.correction is not None), 0)
    verdicts[place] = replace(verdicts[place], details={**(verdicts[place].details or {}), "quote": quote})
    return verdicts


def parse_target(payload: Mapping[str, Any]) -> Target:
    """Validate the target's fields of a payload; fields that are not the target's are let through unread.

    Either ``trace_id`` with ``span_id``, or ``response_id``, or ``conversation_id``; optionally ``trace_flags``
    (0-255; absent means sampled), ``turn_id``, ``dims`` (a mapping with keys of `fields.DIMS` only) and ``at``
    (unix seconds of the answer).

    Raises:
        InvalidFeedback: for malformed or all-zero ids, or when nothing says what is judged.
    """
    given = {key: payload[key] for key in TARGET_FIELDS if payload.get(key) is not None}
    trace_id, span_id = fields.hex_id(given, "trace_id", 32), fields.hex_id(given, "span_id", 16)
    if (trace_id is None) != (span_id is None):
        raise InvalidFeedback("span_id" if span_id is None else "trace_id", "trace_id and span_id go together")
    response_id = fields.text(given, "response_id", MAX_ID)
    conversation_id = fields.text(given, "conversation_id", MAX_ID)
    if trace_id is None and response_id is None and conversation_id is None:
        raise InvalidFeedback("target", "give trace_id with span_id, response_id, conversation_id, or a token")
    return Target(
        trace_id=trace_id, span_id=span_id, trace_flags=fields.trace_flags(given), response_id=response_id,
        conversation_id=conversation_id, turn_id=fields.text(given, "turn_id", MAX_ID), dims=fields.dims(given),
        at=fields.at(given),
    )


def parse_rater(rater: object) -> str | None:
    """Validate who judged: None, or 1 to 256 characters.

    Raises:
        InvalidFeedback: field ``rater``.
    """
    return None if rater is None else fields.text({"rater": rater}, "rater", MAX_ID)


def allows(names: Collection[str], name: str) -> bool:
    """Tell whether ``name`` is in ``names`` or has the prefix of one that ends in ``*``."""
    return any(name == one or (one.endswith("*") and name.startswith(one[:-1])) for one in names)


def valid_pattern(pattern: object) -> bool:
    """Tell whether ``pattern`` is a feedback name, or a beginning of one followed by ``*``."""
    if not isinstance(pattern, str):
        return False
    stem = pattern.removesuffix("*")
    return CODE.fullmatch(stem) is not None and any(stem.startswith(prefix) for prefix in semconv.NAME_PREFIXES)


def _refuse_unknown(given: Mapping[str, Any]) -> None:
    for key in given:
        if key not in JUDGEMENT_FIELDS and key not in TARGET_FIELDS and key not in OTHER_FIELDS:
            raise InvalidFeedback(key if CODE.fullmatch(str(key)) else "payload", "unknown field")


def _verdicts(given: Mapping[str, Any], bare: bool, taxonomy: Taxonomy) -> list[Judgement]:
    """The verdicts of a payload; ``bare``: the name stands alone."""
    found: list[Judgement] = []
    readers: tuple[tuple[str, Callable[[Mapping[str, Any]], Judgement]], ...] = (
        ("thumbs", lambda one: thumbs(one["thumbs"])),
        ("stars", lambda one: stars(one["stars"], taxonomy)),
        ("name", retracted if bare else lambda one: named(one, taxonomy)),
        ("correction", correction),
    )
    for field, read in readers:
        if field in given:
            found.append(read(given))
    _refuse_strays(given, found)
    return found


def _refuse_strays(given: Mapping[str, Any], found: list[Judgement]) -> None:
    for field in ("value", "label", "polarity", "scale"):
        if field in given and "name" not in given:
            raise InvalidFeedback(field, "needs a name")
    names = [judgement.name for judgement in found]
    if len(set(names)) != len(names):
        raise InvalidFeedback("name", "given twice: as name and as thumbs, stars or correction")


def _check_names(verdicts: list[Judgement], names: Collection[str] | None) -> None:
    for verdict in verdicts:
        if names is not None and not allows(names, verdict.name):
            raise InvalidFeedback("name", f"{verdict.name} is not allowed by this token")
