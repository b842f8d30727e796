"""The implicit signals: what each is called, what it says, how sure it is, and who sees it.

One table, `CATALOGUE`, which a YAML file (``BACKSPAN_SIGNALS``) may change in its numbers, and the rules read. A hit
is a feedback named ``implicit_<signal>`` with source ``implicit``; its value is the strength of the evidence, and its
label ``rule-<version>`` says which version of the rule judged: a new version of a rule changes what an older one said.

A *prior* is how much a signal is trusted before anything was measured: 0 says nothing, 1 is certain. With prior w an
answer with that signal alone is a good one (or a bad one) with probability (1 + w) / 2. The priors and thresholds are
no facts but starting points; ``backspan feedback calibrate`` measures what the signals are worth where they are used.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, cast

from backspan import semconv
from backspan._guard import guarded
from backspan.config import settings
from backspan.feedback.cues import CUES

BROWSER, APP, SERVER = "browser", "app", "server"
ANALYTICS: Final = "analytics"
"""The purpose that a person must have agreed to before a signal of hers is kept."""


@dataclass(frozen=True)
class Band:
    """Values up to ``upto`` (included) mean ``polarity``, with ``prior``."""

    upto: float
    polarity: str
    prior: float


@dataclass(frozen=True)
class Signal:
    """One signal.

    Attributes:
        name: without ``implicit_``.
        doc: what it is, in a sentence.
        bands: what its values mean, in ascending order.
        seen_by: ``browser`` and ``app`` (they send it), ``server`` (a rule over stored turns finds it).
        limits: numbers of the rule, by name.
        least, most: smallest and greatest value that counts.
        version: of the rule.
        consent: it needs the person's consent to analytics.
        instead_of: a signal that it takes the place of.
    """

    name: str
    doc: str
    bands: tuple[Band, ...]
    seen_by: tuple[str, ...]
    limits: Mapping[str, float] = field(default_factory=lambda: MappingProxyType(dict[str, float]()))
    least: float = 0.0
    most: float = 1.0
    version: int = 1
    consent: bool = True
    instead_of: str | None = None

    @property
    def feedback_name(self) -> str:
        """Its name as feedback."""
        return semconv.IMPLICIT_PREFIX + self.name

    @property
    def label(self) -> str:
        """The version of the rule, as the feedback's label has it."""
        return f"rule-{self.version}"

    def band(self, value: float) -> Band:
        """What ``value`` means."""
        return next((band for band in self.bands if value <= band.upto), self.bands[-1])


def _one(polarity: str, prior: float) -> tuple[Band, ...]:
    return (Band(math.inf, polarity, prior),)


def _good(prior: float) -> tuple[Band, ...]:
    return _one(semconv.POSITIVE, prior)


def _bad(prior: float) -> tuple[Band, ...]:
    return _one(semconv.NEGATIVE, prior)


def _limits(**numbers: float) -> Mapping[str, float]:
    return MappingProxyType(dict(numbers))


_WEAK_OR_STRONG = (Band(0.65, semconv.NEGATIVE, 0.5), Band(math.inf, semconv.NEGATIVE, 0.8))
_DISTANCE = (Band(0.1, semconv.POSITIVE, 0.7), Band(0.4, semconv.NEUTRAL, 0.0), Band(math.inf, semconv.NEGATIVE, 0.5))

CATALOGUE: Final[Mapping[str, Signal]] = MappingProxyType({one.name: one for one in (
    Signal("reformulation", "The next question says the same in other words.", _WEAK_OR_STRONG, (SERVER,),
           _limits(gap=300.0, similar=62.0, strong=85.0)),
    Signal("repeat_question", "The same person asks the same again in another conversation.", _bad(0.5), (SERVER,),
           _limits(gap=86400.0, similar=85.0)),
    Signal("regenerate", "The same messages are answered again, or the user asks for another answer.", _bad(0.6),
           (BROWSER, APP, SERVER), _limits(gap=600.0)),
    Signal("stop", "The user stopped the answer while it was written.", _bad(0.3), (BROWSER, APP, SERVER),
           _limits(tokens=20.0, weak=0.5)),
    Signal("copy", "A part of the answer was copied; the value is its share.", _good(0.4), (BROWSER, APP), least=0.2),
    Signal("code_copy", "A whole block of code was copied.", _good(0.4), (BROWSER, APP)),
    Signal("copy_then_error", "After a copy comes an error about what was copied.", _bad(0.7), (SERVER,),
           _limits(gap=900.0), instead_of="copy"),
    Signal("dwell", "Time in view over the time that reading takes (238 words a minute).", _one(semconv.NEUTRAL, 0.0),
           (BROWSER, APP), _limits(skim=0.3), most=100.0),
    Signal("edit_distance", "How far the text that was used is from the answer: 0 equal, 1 nothing in common.",
           _DISTANCE, (APP, SERVER), _limits(shortest=0.3, longest=3.0)),
    Signal("accept", "The answer was accepted.", _good(0.7), (BROWSER, APP)),
    Signal("apply", "The answer was applied.", _good(0.7), (BROWSER, APP)),
    Signal("insert", "The answer was inserted.", _good(0.7), (BROWSER, APP)),
    Signal("revert", "What was accepted was undone within a minute.", _bad(0.8), (BROWSER, APP)),
    Signal("abandonment", "The conversation ended after an answer that something else speaks against.", _bad(0.4),
           (SERVER,), _limits(quiet=1800.0)),
    Signal("citation_click", "A source was opened.", _one(semconv.NEUTRAL, 0.0), (BROWSER, APP)),
    Signal("citation_in_vain", "A source was opened, and right after it the question came again in other words.",
           _bad(0.3), (SERVER,), _limits(gap=60.0)),
    Signal("follow_up_ack", "The user says thanks, or that it works.", _good(0.5), (SERVER,), _limits(words=8.0)),
    Signal("follow_up_correction", "The user contradicts the answer.", _bad(0.7), (SERVER,), _limits(quoted=60.0)),
    Signal("exposure", "The question for a vote was shown.", _one(semconv.NEUTRAL, 0.0), (BROWSER,),
           consent=False),
    Signal("skip", "The question for a vote was skipped.", _one(semconv.NEUTRAL, 0.0), (BROWSER,),
           consent=False),
    Signal("escalation", "The user asked for a human.", _bad(0.7), (BROWSER, APP)),
    Signal("share", "The answer was shared.", _good(0.5), (BROWSER, APP)),
    Signal("save", "The answer was saved.", _good(0.5), (BROWSER, APP)),
    Signal("pin", "The answer was pinned.", _good(0.5), (BROWSER, APP)),
)})


class CatalogueError(ValueError):
    """The file that changes the catalogue is wrong; the message says where."""


@dataclass(frozen=True)
class Catalogue:
    """The signals in force.

    Attributes:
        signals: by name.
        cues: phrases by kind (`backspan.feedback.cues`), over all languages.
        assume_consent: a person who has said nothing counts as one who agreed to analytics.
    """

    signals: Mapping[str, Signal] = field(default_factory=lambda: CATALOGUE)
    cues: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: _phrases({}))
    assume_consent: bool = False

    def named(self, feedback_name: str) -> Signal | None:
        """The signal of a feedback's name; None if it is none of the catalogue."""
        return self.signals.get(feedback_name.removeprefix(semconv.IMPLICIT_PREFIX)) if feedback_name.startswith(
            semconv.IMPLICIT_PREFIX) else None

    def agreed(self, purposes: str | None) -> bool:
        """Tell whether a signal may be kept of whoever agreed to ``purposes`` (comma-separated; None: not known)."""
        return self.assume_consent if not purposes else ANALYTICS in purposes.split(",")


def catalogue() -> Catalogue:
    """The catalogue, with the changes of the file that ``BACKSPAN_SIGNALS`` names.

    Raises:
        CatalogueError: if there is such a file and it is wrong.
    """
    return _read(settings().signals_file)


@lru_cache(maxsize=8)
def _read(file: str | None) -> Catalogue:
    if file is None:
        return Catalogue()
    import yaml  # of the extras `server` and `rules`

    try:
        said: Any = yaml.safe_load(Path(file).read_text("utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise CatalogueError(f"{file}: {error}") from None
    return changed(said)


def known(feedback_name: str) -> Signal | None:
    """The signal of a feedback's name, None if it is none; where the file is wrong, as the catalogue has it."""
    found = _in_force() or Catalogue()
    return found.named(feedback_name)


@guarded
def _in_force() -> Catalogue:
    return catalogue()


_TOP = ("signals", "cues", "assume_consent")
_NUMBERS = ("least", "most", "prior", "version")


def changed(said: Any) -> Catalogue:
    """The catalogue with the changes ``said``: ``signals``, ``cues`` and ``assume_consent``, as the file has them.

    Raises:
        CatalogueError: if something in it is unknown or of another type.
    """
    given = _mapping(said or {}, "the file", _TOP)
    signals = dict(CATALOGUE)
    for name, more in _mapping(given.get("signals") or {}, "signals", tuple(CATALOGUE)).items():
        signals[name] = _with(signals[name], more)
    assume = given.get("assume_consent", False)
    if not isinstance(assume, bool):
        raise CatalogueError("assume_consent: must be true or false")
    return Catalogue(MappingProxyType(signals), _phrases(given.get("cues") or {}), assume)


def _with(signal: Signal, said: Any) -> Signal:
    where = f"signals.{signal.name}"
    numbers = {key: _number(value, f"{where}.{key}")
               for key, value in _mapping(said, where, (*_NUMBERS, *signal.limits)).items()}
    limits = MappingProxyType({**signal.limits, **{key: numbers[key] for key in signal.limits if key in numbers}})
    bands = signal.bands
    if "prior" in numbers:
        if len(bands) > 1 or not 0 <= numbers["prior"] < 1:
            raise CatalogueError(f"{where}.prior: from 0 to less than 1, of a signal with one meaning")
        bands = tuple(replace(band, prior=numbers["prior"]) for band in bands)
    return replace(signal, limits=limits, bands=bands, least=numbers.get("least", signal.least),
                   most=numbers.get("most", signal.most), version=int(numbers.get("version", signal.version)))


def _phrases(said: Any) -> Mapping[str, tuple[str, ...]]:
    more = _mapping(said, "cues", tuple(CUES))
    found = {kind: [phrase for language in languages.values() for phrase in language]
             for kind, languages in CUES.items()}
    for kind, phrases in more.items():
        if not isinstance(phrases, list) or not all(isinstance(one, str) and one for one in cast("list[Any]", phrases)):
            raise CatalogueError(f"cues.{kind}: must be a list of phrases")
        found[kind] += [str(one).casefold() for one in cast("list[Any]", phrases)]
    return MappingProxyType({kind: tuple(phrases) for kind, phrases in found.items()})


def _mapping(said: Any, where: str, allowed: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise CatalogueError(f"{where}: must be a mapping")
    given = cast("dict[str, Any]", said)
    unknown = next((key for key in given if key not in allowed), None)
    if unknown is not None:
        raise CatalogueError(f"{where}: {unknown!r} is unknown; known are {', '.join(allowed)}")
    return given


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise CatalogueError(f"{where}: must be a number from 0")
    return float(value)
