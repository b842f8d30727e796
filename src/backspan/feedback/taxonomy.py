"""What may be said about an answer: names with their types, scales, and the reasons that go with each polarity.

A taxonomy is data (`backspan.feedback.taxonomy_file` reads it from a file); here is what it means. What it declares is
held to; a name or reason that it does not declare is accepted as it comes, or refused, as the taxonomy says. A number
under a ``user_`` name always needs a scale: 4 says nothing unless it is known whether 5 or 10 is the best.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from backspan import semconv
from backspan.feedback.asking import Asking
from backspan.feedback.fields import InvalidFeedback

BOOLEAN: Final = "boolean"
CATEGORICAL: Final = "categorical"
NUMERIC: Final = "numeric"
COMPARISON: Final = "comparison"
TEXT: Final = "text"
TYPES: Final = (BOOLEAN, CATEGORICAL, NUMERIC, COMPARISON, TEXT)
BUILT_IN: Final = {semconv.USER_THUMBS: BOOLEAN, semconv.USER_STARS: NUMERIC, semconv.USER_CORRECTION: TEXT,
                   semconv.USER_PREFERENCE: COMPARISON}
"""Names that every taxonomy has, and their types, which none can change."""
Texts = Mapping[str, str]
"""A text per language."""


@dataclass(frozen=True)
class Band:
    """A part of a scale: values up to ``to`` (included) are called ``label`` and have this polarity."""

    to: float
    label: str
    polarity: str


@dataclass(frozen=True)
class Scale:
    """A declared range of numbers. ``step`` is the distance of its values from ``min`` on; None: any number."""

    name: str
    min: float
    max: float
    step: float | None
    bands: tuple[Band, ...]

    def place(self, value: float) -> Band:
        """The band of ``value``. Raises `InvalidFeedback` for a value that is not on the scale."""
        steps = 0.0 if self.step is None else (value - self.min) / self.step
        if not self.min <= value <= self.max or abs(steps - round(steps)) > 1e-9:
            raise InvalidFeedback("value", f"must be {self.words()}")
        return next(band for band in self.bands if value <= band.to)

    def words(self) -> str:
        """What a value must be."""
        whole = all(float(number).is_integer() for number in (self.min, self.step or 0.5))
        if whole and self.step == 1:
            return f"a whole number from {self.min:g} to {self.max:g}"
        return f"from {self.min:g} to {self.max:g}" + (f" in steps of {self.step:g}" if self.step else "")


@dataclass(frozen=True)
class Name:
    """A declared name. ``scale`` is set for numeric ones, ``labels`` (word -> polarity) for categorical ones."""

    name: str
    type: str
    scale: Scale | None
    labels: Mapping[str, str]
    question: Texts
    texts: Mapping[str, Texts]


@dataclass(frozen=True)
class Reason:
    """A code that may be given with judgements of ``polarities``; ``last``: it is shown after the shuffled ones."""

    code: str
    polarities: tuple[str, ...]
    label: Texts
    last: bool


@dataclass(frozen=True)
class Taxonomy:
    """Everything that is declared.

    Attributes:
        revision: its author's name for this state of it.
        languages: of its texts; the first one stands in for the others.
        names, scales, reasons: by name or code.
        texts: for a form, by key.
        open_names, open_reasons: accept what is not declared.
        asking: who is asked.
    """

    revision: str
    languages: tuple[str, ...]
    names: Mapping[str, Name]
    scales: Mapping[str, Scale]
    reasons: Mapping[str, Reason]
    texts: Mapping[str, Texts]
    open_names: bool
    open_reasons: bool
    asking: Asking = Asking()

    def check_name(self, name: str) -> Name | None:
        """The declaration of a name, None for an undeclared one. Raises `InvalidFeedback` if that is refused.

        Only users' judgements are closed: evaluators, reviewers and business code are ours to trust.
        """
        declared = self.names.get(name)
        if declared is None and not self.open_names and name.startswith("user_"):
            raise InvalidFeedback("name", f"{name} is not declared in the taxonomy")
        return declared

    def scale_of(self, name: str, asked: Any) -> Scale | None:
        """The scale of a number under ``name``: the declared one, else the one asked for by its name.

        None: a free number, of an evaluator, a reviewer or business code.

        Raises:
            InvalidFeedback: for a scale that does not exist or is not the name's, and for a number of a user without
                one.
        """
        declared = self.names.get(name)
        own = declared.scale if declared is not None else None
        if asked is not None and (not isinstance(asked, str) or asked not in self.scales):
            raise InvalidFeedback("scale", f"must be one of {', '.join(sorted(self.scales))}")
        if own is not None and asked is not None and asked != own.name:
            raise InvalidFeedback("scale", f"{name} has the scale {own.name}")
        if own is None and asked is None and name.startswith("user_"):
            raise InvalidFeedback("scale", f"{name} has no declared scale: declare it in the taxonomy, or give scale, "
                                  f"one of {', '.join(sorted(self.scales))}")
        return own if asked is None else self.scales[asked]

    def check_reasons(self, reasons: tuple[str, ...], polarity: str) -> None:
        """Raises `InvalidFeedback` for a reason that does not go with ``polarity``, or is not declared where it must.

        A vote is always said whole, so a changed one cannot keep a reason that belonged to what it was before.
        """
        for code in reasons:
            declared = self.reasons.get(code)
            if declared is None and not self.open_reasons:
                raise InvalidFeedback("reasons", f"must be among {', '.join(self.codes(polarity)) or 'none'}")
            if declared is not None and polarity not in declared.polarities:
                raise InvalidFeedback("reasons", f"{code} does not go with a {polarity} judgement")

    def codes(self, polarity: str) -> list[str]:
        """The declared reasons that go with ``polarity``, in their order."""
        return [code for code, reason in self.reasons.items() if polarity in reason.polarities]
