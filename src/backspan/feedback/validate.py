"""Validation: from keyword arguments or a decoded JSON body to judgements and targets, with precise errors."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from backspan import semconv
from backspan.context import Target
from backspan.feedback import fields
from backspan.feedback.fields import CODE, MAX_COMMENT, MAX_CORRECTION, MAX_ID, InvalidFeedback

JUDGEMENT_FIELDS: Final = ("thumbs", "stars", "name", "value", "label", "polarity", "reasons", "comment", "correction",
                           "source", "retract")
TARGET_FIELDS: Final = ("trace_id", "span_id", "trace_flags", "response_id", "conversation_id", "turn_id", "dims", "at")
OTHER_FIELDS: Final = ("token", "rater")
"""Fields of a request body that are neither the judgement nor the target's ids."""

_SOURCE_OF_PREFIX: Final = dict(zip(semconv.NAME_PREFIXES, semconv.SOURCES, strict=False))
_POLARITY_OF_LABEL: Final = {
    "pass": semconv.POSITIVE, "fail": semconv.NEGATIVE,
    "win": semconv.POSITIVE, "loss": semconv.NEGATIVE, "tie": semconv.NEUTRAL,
}
_LABEL_OF_POLARITY: Final = {semconv.POSITIVE: "pass", semconv.NEGATIVE: "fail", semconv.NEUTRAL: "neutral"}


@dataclass(frozen=True)
class Judgement:
    """One validated verdict with one name; see `Feedback` for the fields. With ``retract`` only the name counts."""

    name: str
    value: float | None
    label: str | None
    polarity: str
    reasons: tuple[str, ...]
    comment: str | None
    correction: str | None
    source: str
    retract: bool = False


def parse(
    payload: Mapping[str, Any], *, names: Collection[str] | None = None, source: str | None = None
) -> list[Judgement]:
    """Validate ``payload`` and return one judgement per name in it, at least one.

    - ``thumbs`` (``True``/``"up"``, ``False``/``"down"``): `user_thumbs`, 1.0 ``pass`` positive or 0.0 ``fail``
      negative.
    - ``stars`` (1 to 5): `user_stars`; 1-2 ``fail`` negative, 3 ``neutral`` neutral, 4-5 ``pass`` positive.
    - ``correction`` (text): `user_correction`, no score, ``corrected``, negative.
    - ``name`` with ``value`` (finite number or boolean), ``label``, or both: any name that starts with one of
      `semconv.NAME_PREFIXES`. A boolean means 1.0/0.0 with ``pass``/``fail``. ``polarity`` may be given; else it
      follows from the label (``pass``, ``win``: positive; ``fail``, ``loss``: negative), else it is neutral.

    ``reasons`` and ``comment`` belong to the first of thumbs, stars, name, correction that is given. With ``retract``
    the names count, not the values.

    Args:
        payload: keyword arguments or a decoded JSON object; a value of None means absent. `TARGET_FIELDS` and
            `OTHER_FIELDS` are let through unread, any other unknown field is refused.
        names: names allowed (a token's claim; ``user_*`` forms allow a prefix), or None for all.
        source: forces the source, whatever the payload says (a browser cannot call itself a reviewer). Else
            ``source`` in the payload, else what the name's prefix says.

    Raises:
        InvalidFeedback: with the first field that is wrong.
    """
    given = {key: value for key, value in payload.items() if value is not None}
    if given.get("comment") == "":  # what an untouched form field sends
        del given["comment"]
    _refuse_unknown(given)
    retract = fields.flag(given, "retract")
    verdicts = _verdicts(given, retract)
    if not verdicts:
        raise InvalidFeedback("thumbs", "give thumbs, stars, correction, or name with value or label")
    _check_names(verdicts, names)
    first = replace(verdicts[0], reasons=fields.reasons(given), comment=fields.text(given, "comment", MAX_COMMENT))
    said = fields.choice(given, "source", semconv.SOURCES)
    return [
        replace(one, source=source or said or source_of(one.name), retract=retract) for one in (first, *verdicts[1:])
    ]


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


def source_of(name: str) -> str:
    """The source that a name's prefix stands for: ``user_`` is ``end_user``, ``review_`` is ``reviewer``, ..."""
    return next(source for prefix, source in _SOURCE_OF_PREFIX.items() if name.startswith(prefix))


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


def _verdicts(given: Mapping[str, Any], retract: bool) -> list[Judgement]:
    found: list[Judgement] = []
    readers: tuple[tuple[str, Callable[[Mapping[str, Any]], Judgement]], ...] = (
        ("thumbs", lambda one: _thumbs(one["thumbs"])),
        ("stars", lambda one: _stars(one["stars"])),
        ("name", _retracted if retract else _named),
        ("correction", _correction),
    )
    for field, read in readers:
        if field in given:
            found.append(read(given))
    _refuse_strays(given, found)
    return found


def _refuse_strays(given: Mapping[str, Any], found: list[Judgement]) -> None:
    for field in ("value", "label", "polarity"):
        if field in given and "name" not in given:
            raise InvalidFeedback(field, "needs a name")
    names = [judgement.name for judgement in found]
    if len(set(names)) != len(names):
        raise InvalidFeedback("name", "given twice: as name and as thumbs, stars or correction")


def _check_names(verdicts: list[Judgement], names: Collection[str] | None) -> None:
    for verdict in verdicts:
        if names is not None and not allows(names, verdict.name):
            raise InvalidFeedback("name", f"{verdict.name} is not allowed by this token")


def _judgement(name: str, value: float | None, label: str | None, polarity: str) -> Judgement:
    return Judgement(name, value, label, polarity, (), None, None, source_of(name))


def _thumbs(thumbs: object) -> Judgement:
    up = {"up": True, "down": False}.get(thumbs) if isinstance(thumbs, str) else thumbs
    if not isinstance(up, bool):
        raise InvalidFeedback("thumbs", 'must be true or "up", false or "down"')
    return _judgement(semconv.USER_THUMBS, float(up), *_pass_fail(up))


def _pass_fail(good: bool) -> tuple[str, str]:
    polarity = semconv.POSITIVE if good else semconv.NEGATIVE
    return _LABEL_OF_POLARITY[polarity], polarity


def _stars(stars: object) -> Judgement:
    if isinstance(stars, bool) or not isinstance(stars, int) or not 1 <= stars <= 5:
        raise InvalidFeedback("stars", "must be a whole number from 1 to 5")
    polarity = semconv.NEGATIVE if stars <= 2 else semconv.NEUTRAL if stars == 3 else semconv.POSITIVE
    return _judgement(semconv.USER_STARS, float(stars), _LABEL_OF_POLARITY[polarity], polarity)


def _correction(given: Mapping[str, Any]) -> Judgement:
    text = fields.text(given, "correction", MAX_CORRECTION)
    return replace(_judgement(semconv.USER_CORRECTION, None, "corrected", semconv.NEGATIVE), correction=text)


def _retracted(given: Mapping[str, Any]) -> Judgement:
    return _judgement(fields.name(given), None, None, semconv.NEUTRAL)


def _named(given: Mapping[str, Any]) -> Judgement:
    name, value = fields.name(given), given.get("value")
    if name == semconv.USER_CORRECTION:
        raise InvalidFeedback("name", "give correction=<text> instead")
    if name == semconv.USER_THUMBS and "label" not in given and "polarity" not in given:
        return _thumbs(bool(value) if value in (0, 1) else value)
    if name == semconv.USER_STARS and "label" not in given and "polarity" not in given:
        return _stars(int(value) if isinstance(value, float) and value.is_integer() else value)
    return _free(name, given)


def _free(name: str, given: Mapping[str, Any]) -> Judgement:
    if name in (semconv.USER_THUMBS, semconv.USER_STARS):
        raise InvalidFeedback("label" if "label" in given else "polarity", f"follows from the value of {name}")
    value, label = fields.number(given), fields.label(given)
    if value is None and label is None:
        raise InvalidFeedback("value", "give a value or a label")
    if isinstance(given.get("value"), bool) and label is None:
        label = _pass_fail(bool(given["value"]))[0]
    polarity = fields.choice(given, "polarity", semconv.POLARITIES)
    return _judgement(name, value, label, polarity or _POLARITY_OF_LABEL.get(label or "", semconv.NEUTRAL))


