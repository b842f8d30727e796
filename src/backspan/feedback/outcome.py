"""Outcomes: what became of the work that an answer was part of. `record_outcome`, and what a gateway shares with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from backspan import semconv
from backspan._guard import guarded, say_once
from backspan.config import settings
from backspan.context import joined, lookup
from backspan.feedback import fields
from backspan.feedback.fields import MAX_ID, InvalidFeedback
from backspan.feedback.forward import forwarder
from backspan.feedback.model import Judgement, Receipt, parse
from backspan.feedback.record import IGNORED, QUEUED, record_feedback
from backspan.feedback.target import as_payload, target_of, with_place
from backspan.feedback.token import FORGED, InvalidToken, is_token, well_formed

PATH: Final = "/v1/outcomes"
_JUDGED: Final = ("name", "value", "label", "polarity")
FIELDS: Final = (*_JUDGED, "join_key", "target", "token", "assisted", "id", "time")
"""Fields of one outcome in a request."""


@dataclass(frozen=True)
class Said:
    """One outcome as it was told, validated, without what it is about.

    Attributes:
        judgement: its name (``outcome_…``), value, label and polarity.
        join_key: what the business calls the matter.
        assisted: False: no model helped; True: one did; None: nobody said.
        id: an id of the teller, so that telling it again is harmless.
        time: Unix seconds when it came about; None: now.
    """

    judgement: Judgement
    join_key: str | None = None
    assisted: bool | None = None
    id: str | None = None
    time: float | None = None


def read_outcome(given: Mapping[str, Any]) -> Said:
    """Validate the fields of one outcome; ``target`` and ``token`` are not looked at.

    Raises:
        InvalidFeedback: with the first field that is wrong.
    """
    unknown = next((key for key in given if key not in FIELDS), None)
    if unknown is not None:
        raise InvalidFeedback("outcome", f"fields are {', '.join(FIELDS)}")
    name = given.get("name")
    if not isinstance(name, str):
        raise InvalidFeedback("name", "must be a string")
    full = name if name.startswith(semconv.OUTCOME_PREFIX) else semconv.OUTCOME_PREFIX + name
    said = {key: given[key] for key in _JUDGED if given.get(key) is not None}
    [judgement] = parse({**said, "name": full}, source=semconv.OUTCOME)
    return Said(
        judgement, fields.text(given, "join_key", MAX_ID), fields.optional_flag(given, "assisted"),
        fields.text(given, "id", MAX_ID), _moment(given))


def _moment(given: Mapping[str, Any]) -> float | None:
    try:
        return fields.at({"at": given.get("time")})
    except InvalidFeedback as error:
        raise InvalidFeedback("time", error.message) from None


def record_outcome(
    target: object = None, name: str = "", value: float | bool | None = True, *, join_key: str | None = None,
    label: str | None = None, polarity: str | None = None, assisted: bool | None = None, id: str | None = None,
    time: float | None = None,
) -> Receipt:
    """Record what became of the work that an answer was part of: a ticket solved, an order kept, a test passed.

    It may come days later and from another program. Repeating it is harmless, another value changes it. It never waits
    for the network, and works while ``BACKSPAN`` is unset too. A gateway (``BACKSPAN_GATEWAY_URL``) keeps outcomes;
    without one, an outcome is sent as feedback if its answer was given in this process or is named by ids.

    Args:
        target: the answer, as for `record_feedback` (a turn, a response, ids, a token). None with a ``join_key``.
        name: for example ``ticket_resolved``; it becomes ``outcome_ticket_resolved``.
        value: a boolean (True is good) or a number; None with a ``label``.
        join_key: what the business calls the matter, as the application said in ``turn(join_key=…)`` or
            ``session(join_key=…)``. The outcome goes to the last answer of that key; it may come before the answer.
        label: a word, instead of or beside the value.
        polarity: ``negative``, ``neutral`` or ``positive``, where neither a boolean nor the label tells.
        assisted: False if no model helped, so that reports can compare; then nothing is judged.
        id: an id of yours for this outcome. None: one outcome per matter and name.
        time: Unix seconds when it came about. None: now.

    Returns:
        A `Receipt`: ``queued`` for the gateway, or as `record_feedback` gives it; ``ignored`` if its answer is not
        known here and there is no gateway.

    Raises:
        InvalidFeedback: (a ValueError) if an argument is wrong; its ``field`` tells which.
    """
    given = {"name": name, "value": value, "label": label, "polarity": polarity, "join_key": join_key,
             "assisted": assisted, "id": id, "time": time}
    said = read_outcome(given)
    if target is not None and join_key is not None:
        raise InvalidFeedback("join_key", "give a target or a join_key, not both")
    if settings().gateway_url is not None:
        return _forward(target, said, given)
    return _keep(target, said)


def _keep(target: object, said: Said) -> Receipt:
    """Without a gateway: an outcome is feedback, if we know of what."""
    found = lookup(joined(said.join_key)) if said.join_key is not None else target
    if said.assisted is False or (said.join_key is not None and found is None):
        say_once("outcome:gateway", "an outcome was ignored: its answer is not known in this process, and there is no "
                                    "gateway to keep it (BACKSPAN_GATEWAY_URL)")
        return Receipt("", 0, IGNORED, said.judgement.name)
    one = said.judgement
    receipt = record_feedback(found, name=one.name, value=one.value, label=one.label, polarity=one.polarity,
                              source=semconv.OUTCOME)
    return receipt if isinstance(receipt, Receipt) else receipt[0]


def _forward(target: object, said: Said, given: Mapping[str, Any]) -> Receipt:
    body = {key: value for key, value in given.items() if value is not None}
    body["name"] = said.judgement.name
    if target is not None or said.join_key is None:
        about = _about(target)
        if about is None and said.assisted is not False:
            return Receipt("", 0, IGNORED, said.judgement.name)
        body.update(about or {})
    _queue(body)
    return Receipt("", 0, QUEUED, said.judgement.name)


def _about(target: object) -> dict[str, Any] | None:
    """What the outcome is about, as fields of the request; None if there is nothing to judge."""
    if isinstance(target, str) and is_token(target):
        if not well_formed(target):
            raise InvalidToken(FORGED)
        return {"token": target}
    found = target_of(target)
    if found is None:
        if settings().enabled:
            say_once("outcome:nothing", "record_outcome was called without a target and outside of a turn: nothing "
                                        "done")
        return None
    return {"target": as_payload(with_place(found))}


@guarded
def _queue(body: dict[str, Any]) -> None:
    forwarder.post({"outcomes": [body]}, None, PATH)


__all__ = ["FIELDS", "PATH", "InvalidFeedback", "Said", "read_outcome", "record_outcome"]
