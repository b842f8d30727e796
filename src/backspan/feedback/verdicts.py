"""Verdicts: from the fields of one judgement to its name, value, label and polarity, as the taxonomy declares them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from backspan import semconv
from backspan.feedback import fields, signals
from backspan.feedback.fields import MAX_CORRECTION, InvalidFeedback
from backspan.feedback.taxonomy import BOOLEAN, CATEGORICAL, COMPARISON, TEXT, Name, Scale, Taxonomy

_SOURCE_OF_PREFIX: Final = dict(zip(semconv.NAME_PREFIXES, semconv.SOURCES, strict=False))
_POLARITY_OF_LABEL: Final = {
    "pass": semconv.POSITIVE, "fail": semconv.NEGATIVE,
    "win": semconv.POSITIVE, "loss": semconv.NEGATIVE, "tie": semconv.NEUTRAL,
}
_LABEL_OF_POLARITY: Final = {semconv.POSITIVE: "pass", semconv.NEGATIVE: "fail", semconv.NEUTRAL: "neutral"}


@dataclass(frozen=True)
class Judgement:
    """One validated verdict with one name; see `Feedback` for the fields. With ``retract`` only the name counts.

    ``skip``: the question was seen and passed over; that is counted, and no verdict.
    """

    name: str
    value: float | None
    label: str | None
    polarity: str
    reasons: tuple[str, ...]
    comment: str | None
    correction: str | None
    source: str
    retract: bool = False
    solicited: bool | None = None
    details: Mapping[str, Any] | None = None
    circumstances: Mapping[str, Any] | None = None
    skip: bool = False


def source_of(name: str) -> str:
    """The source that a name's prefix stands for: ``user_`` is ``end_user``, ``review_`` is ``reviewer``, ..."""
    return next(source for prefix, source in _SOURCE_OF_PREFIX.items() if name.startswith(prefix))


def _judgement(name: str, value: float | None, label: str | None, polarity: str) -> Judgement:
    return Judgement(name, value, label, polarity, (), None, None, source_of(name))


def thumbs(thumbs: object) -> Judgement:
    """A thumb: True, False, "up" or "down"."""
    up = {"up": True, "down": False}.get(thumbs) if isinstance(thumbs, str) else thumbs
    if not isinstance(up, bool):
        raise InvalidFeedback("thumbs", 'must be true or "up", false or "down"')
    return _judgement(semconv.USER_THUMBS, float(up), *_pass_fail(up))


def _pass_fail(good: bool) -> tuple[str, str]:
    polarity = semconv.POSITIVE if good else semconv.NEGATIVE
    return _LABEL_OF_POLARITY[polarity], polarity


def stars(stars: object, taxonomy: Taxonomy) -> Judgement:
    """A number of stars, on the scale of `user_stars`."""
    scale = taxonomy.names[semconv.USER_STARS].scale
    assert scale is not None
    if isinstance(stars, bool) or not isinstance(stars, int):
        raise InvalidFeedback("stars", f"must be {scale.words()}")
    try:
        band = scale.place(stars)
    except InvalidFeedback as error:
        raise InvalidFeedback("stars", error.message) from None
    return _judgement(semconv.USER_STARS, float(stars), band.label, band.polarity)


def correction(given: Mapping[str, Any]) -> Judgement:
    """A better answer."""
    text = fields.text(given, "correction", MAX_CORRECTION)
    return replace(_judgement(semconv.USER_CORRECTION, None, "corrected", semconv.NEGATIVE), correction=text)


def retracted(given: Mapping[str, Any]) -> Judgement:
    """The name alone, of what is taken back or skipped."""
    return _judgement(fields.name(given), None, None, semconv.NEUTRAL)


def named(given: Mapping[str, Any], taxonomy: Taxonomy) -> Judgement:
    """Any name, with a value, a label or both."""
    name, value = fields.name(given), given.get("value")
    if name == semconv.USER_CORRECTION:
        raise InvalidFeedback("name", "give correction=<text> instead")
    declared = taxonomy.check_name(name)
    if name in (semconv.USER_THUMBS, semconv.USER_STARS) and ("label" in given or "polarity" in given):
        raise InvalidFeedback("label" if "label" in given else "polarity", f"follows from the value of {name}")
    if name == semconv.USER_THUMBS:
        return thumbs(bool(value) if value in (0, 1) else value)
    if name == semconv.USER_STARS:
        return stars(int(value) if isinstance(value, float) and value.is_integer() else value, taxonomy)
    return _free(name, given, taxonomy) if declared is None else _declared(declared, given, taxonomy)


def _free(name: str, given: Mapping[str, Any], taxonomy: Taxonomy) -> Judgement:
    """An undeclared name: booleans and labels as they come, numbers on a scale, except those that nobody votes."""
    value, label = fields.number(given), fields.label(given)
    if value is None and label is None:
        raise InvalidFeedback("value", "give a value or a label")
    is_number = value is not None and not isinstance(given.get("value"), bool)
    scale = taxonomy.scale_of(name, given.get("scale")) if is_number or "scale" in given else None
    if scale is not None:
        return _on_scale(name, scale, given)
    polarity, signal = fields.choice(given, "polarity", semconv.POLARITIES), signals.known(name)
    if signal is not None:  # True says that there was one, and not that it is a good one
        if value is not None and not signal.least <= value <= signal.most:
            raise InvalidFeedback("value", f"must be a number from {signal.least:g} to {signal.most:g}")
        found = signal.band(1.0 if value is None else value)
        return _judgement(name, value, label or signal.label, polarity or found.polarity)
    if isinstance(given.get("value"), bool) and label is None:
        label = _pass_fail(bool(given["value"]))[0]
    return _judgement(name, value, label, polarity or _POLARITY_OF_LABEL.get(label or "", semconv.NEUTRAL))


# --- declared names -------------------------------------------------------------------------------------------------
_VERDICTS: Final = ("win", "loss", "tie")
_SAID: Final = {BOOLEAN: "value", CATEGORICAL: "label", COMPARISON: "label"}
"""Type -> the one field that says the verdict; what else is said of it follows."""
_NOT_SURE: Final = "neutral"
"""Label of who answers a yes-or-no question with neither."""


def _declared(declared: Name, given: Mapping[str, Any], taxonomy: Taxonomy) -> Judgement:
    if declared.scale is not None:
        scale = taxonomy.scale_of(declared.name, given.get("scale"))
        return _on_scale(declared.name, scale or declared.scale, given)
    said = _SAID.get(declared.type)
    if declared.type == BOOLEAN and given.get("label") == _NOT_SURE:
        said = "label"
    for field in ("value", "label", "polarity", "scale"):
        if field in given and field != said:
            raise InvalidFeedback(field, f"{declared.name} is {declared.type}: " + (f"give {said}" if said else
                                  "give comment") + " alone")
    if declared.type == TEXT:
        if "comment" not in given:
            raise InvalidFeedback("comment", f"{declared.name} is a text: give it as comment")
        return _judgement(declared.name, None, None, semconv.NEUTRAL)
    return _yes_or_no(declared, given) if declared.type == BOOLEAN else _word(declared, given)


def _yes_or_no(declared: Name, given: Mapping[str, Any]) -> Judgement:
    if given.get("label") == _NOT_SURE:
        return _judgement(declared.name, None, _NOT_SURE, semconv.NEUTRAL)
    if given.get("value") not in (0, 1):
        raise InvalidFeedback("value", f"{declared.name} is boolean: give true or false, or the label {_NOT_SURE}")
    return _judgement(declared.name, float(given["value"]), *_pass_fail(bool(given["value"])))


def _word(declared: Name, given: Mapping[str, Any]) -> Judgement:
    label, words = fields.label(given), declared.labels or {word: _POLARITY_OF_LABEL[word] for word in _VERDICTS}
    if label is None or label not in words:
        raise InvalidFeedback("label", f"{declared.name} is {declared.type}: give one of {', '.join(words)}")
    return _judgement(declared.name, None, label, words[label])


def _on_scale(name: str, scale: Scale, given: Mapping[str, Any]) -> Judgement:
    value = fields.number(given)
    if value is None or isinstance(given.get("value"), bool):
        raise InvalidFeedback("value", f"must be {scale.words()}")
    for field in ("label", "polarity"):
        if field in given:
            raise InvalidFeedback(field, f"follows from the value of {name}")
    band = scale.place(value)
    details = None if name == semconv.USER_STARS else {"scale": scale.name}
    return replace(_judgement(name, value, band.label, band.polarity), details=details)
