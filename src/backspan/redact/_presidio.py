"""Presidio, offline: its patterns always, and names and places if a model of spaCy's is installed.

Nothing is downloaded: Presidio's own engine would fetch a missing model, and its e-mail recogniser a list of domains.
So a model is asked for only if it is there, and that recogniser is left out, as its work is done already.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from backspan._guard import say_once

_LANGUAGE = "en"
_LEAST_SCORE = 0.5
_OURS = ("EmailRecognizer", "UrlRecognizer", "DateRecognizer", "CreditCardRecognizer", "IbanRecognizer",
         "IpRecognizer", "PhoneRecognizer")
"""What we find ourselves, and addresses of pages and dates."""
_HARMLESS = frozenset({"DATE_TIME", "URL", "NRP", "UUID"})
"""What tells nobody's name."""
_MASK = re.compile(r"\[[a-z_]{1,64}\]")
_PATTERNS_ONLY = frozenset({"1", "true", "on"})

Mask = Callable[[str, dict[str, int]], str]


def load(asked: str) -> tuple[Mask | None, str]:
    """What masks a text by Presidio, and its version; nothing if the extra is missing, which is said once."""
    try:
        import spacy
        from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
    except ImportError:
        say_once("presidio", "BACKSPAN_REDACT_PRESIDIO needs the extra: pip install 'backspan[pii]'; "
                             "masking goes on with backspan's own patterns")
        return None, ""
    model = _installed(asked, spacy)
    nlp = _engine(spacy.load(model) if model else spacy.blank(_LANGUAGE))
    registry: Any = RecognizerRegistry(supported_languages=[_LANGUAGE])
    registry.load_predefined_recognizers(languages=[_LANGUAGE], nlp_engine=nlp if model else None)
    for name in _OURS:
        registry.remove_recognizer(name)
    if not model:
        registry.remove_recognizer("SpacyRecognizer")
    analyzer: Any = AnalyzerEngine(
        registry=registry, nlp_engine=nlp, supported_languages=[_LANGUAGE], default_score_threshold=_LEAST_SCORE)
    return lambda text, found: _masked(analyzer, text, found), f"presidio {version('presidio-analyzer')} {model}"


def _installed(asked: str, spacy: Any) -> str:
    """The model to use; empty for none."""
    if asked.lower() in _PATTERNS_ONLY:
        return ""
    if spacy.util.is_package(asked) or Path(asked).is_dir():
        return asked
    say_once("spacy", f"BACKSPAN_REDACT_PRESIDIO names the spaCy model {asked!r}, which is not installed; "
                      "names and places are not recognised")
    return ""


def _engine(pipeline: Any) -> Any:
    from presidio_analyzer.nlp_engine import SpacyNlpEngine

    engine: Any = SpacyNlpEngine()
    engine.nlp = {_LANGUAGE: pipeline}  # loaded: so `load`, which downloads, is never called
    return engine


def _masked(analyzer: Any, text: str, found: dict[str, int]) -> str:
    ours = [match.span() for match in _MASK.finditer(text)]
    for start, end, kind in reversed(_merged(analyzer.analyze(text, _LANGUAGE))):
        if any(first < end and start < last for first, last in ours):  # a mask of ours is no name
            continue
        text = f"{text[:start]}[{kind}]{text[end:]}"
        found[kind] = found.get(kind, 0) + 1
    return text


def _merged(results: Iterable[Any]) -> list[tuple[int, int, str]]:
    """Start, end and kind from left to right; what overlaps becomes one, named after the first."""
    merged: list[tuple[int, int, str]] = []
    for one in sorted(results, key=lambda one: (one.start, -one.end)):
        if one.entity_type in _HARMLESS:
            continue
        if merged and one.start < merged[-1][1]:
            start, end, kind = merged[-1]
            merged[-1] = (start, max(end, one.end), kind)
        else:
            merged.append((one.start, one.end, str(one.entity_type).lower()))
    return merged
