"""The taxonomy's file: YAML (or JSON, which needs no package), checked, laid over the default that ships.

A section that the file leaves out is the default's; one that it has replaces the default's, but for the names that are
built in and the scales, which are laid over each other one by one. ``taxonomy.schema.json``, beside this file, tells an
editor the same.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import isfinite
from pathlib import Path
from typing import Any, TypeVar, cast

from backspan import semconv
from backspan._guard import say_once
from backspan.config import Settings, settings
from backspan.feedback import fields
from backspan.feedback.asking import DAY, STRATA, Asking
from backspan.feedback.taxonomy import BUILT_IN, CATEGORICAL, NUMERIC, TYPES, Band, Name, Reason, Scale, Taxonomy, Texts

VERSION = 1
"""Of the format."""
_HERE = Path(__file__).parent
SCHEMA = _HERE / "taxonomy.schema.json"
DEFAULT = _HERE / "taxonomy.json"
_SECTIONS = ("version", "revision", "languages", "names", "scales", "reasons", "undeclared", "texts", "asking")
_MOST_REASONS = 50
_MOST_TEXT = 200
T = TypeVar("T")


class TaxonomyError(ValueError):
    """The file is wrong: ``path`` says where in it."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}" if path else message)
        self.path = path


def load(path: Path | None) -> Taxonomy:
    """The taxonomy of a file; None: the default.

    Raises:
        TaxonomyError: if it is wrong, or YAML without the package for it.
        OSError: if it cannot be read.
    """
    return default() if path is None else read(_parsed(path))


def read(document: object) -> Taxonomy:
    """The taxonomy that ``document`` says, over the default. Raises `TaxonomyError`."""
    given = _map(document, "taxonomy", _SECTIONS)
    if given.get("version") != VERSION:
        raise TaxonomyError("version", f"this release reads version {VERSION}")
    return _build({**_shipped(), **given})


@lru_cache(maxsize=1)
def default() -> Taxonomy:
    """The taxonomy that ships."""
    return _build(_shipped())


_last: tuple[Settings, Taxonomy] | None = None


def current() -> Taxonomy:
    """The taxonomy of ``BACKSPAN_TAXONOMY``, else the default. Read once, and again after the settings were.

    A file that cannot be used is said once, and the default holds: an application is never stopped by it. A gateway
    refuses to start instead.
    """
    global _last
    now = settings()
    if _last is None or _last[0] is not now:
        _last = (now, _forgiving(now.taxonomy))
    return _last[1]


def _forgiving(path: Path | None) -> Taxonomy:
    try:
        return load(path)
    except (OSError, TaxonomyError) as error:
        say_once("taxonomy", f"BACKSPAN_TAXONOMY is not used: {error}")
        return default()


def _parsed(path: Path) -> object:
    text = path.read_text("utf-8")
    if path.suffix == ".json":
        try:
            return json.loads(text)
        except ValueError as error:
            raise TaxonomyError("", f"{path} is not JSON: {error}") from None
    try:
        import yaml
    except ImportError:
        raise TaxonomyError("", f"{path} needs a package: pip install 'backspan[server]'; JSON needs none") from None
    try:
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise TaxonomyError("", f"{path} is not YAML: {error}") from None


@lru_cache(maxsize=1)
def _shipped() -> Mapping[str, Any]:
    return json.loads(DEFAULT.read_text("utf-8"))


# --- reading --------------------------------------------------------------------------------------------------------
@dataclass(frozen=True)
class _Item:
    """An entry of a section, with its place for complaints."""

    path: str
    key: str
    value: object

    def fields(self, *allowed: str) -> dict[str, Any]:
        return _map(self.value, self.path, allowed)


def _build(document: Mapping[str, Any]) -> Taxonomy:
    languages = tuple(_list(document["languages"], "languages"))
    if not languages or not all(isinstance(one, str) and one for one in languages):
        raise TaxonomyError("languages", "must be a list of at least one language, such as en")
    scales = {**_default_scales(), **_section(document, "scales", _scale)}
    names = {name: _name(_Item(f"names.{name}", name, _shipped()["names"][name]), scales) for name in BUILT_IN}
    names.update(_section(document, "names", lambda item: _name(item, scales)))
    undeclared = _map(document["undeclared"], "undeclared", ("names", "reasons"))
    reasons = [_reason(_Item(f"reasons[{i}]", "", one)) for i, one in enumerate(_list(document["reasons"], "reasons"))]
    if len(reasons) > _MOST_REASONS or len({reason.code for reason in reasons}) != len(reasons):
        raise TaxonomyError("reasons", f"must be at most {_MOST_REASONS}, each code once")
    return Taxonomy(
        revision=_word(document["revision"], "revision"), languages=cast("tuple[str, ...]", languages), names=names,
        scales=scales, reasons={reason.code: reason for reason in reasons},
        texts=_section(document, "texts", lambda item: _texts(item.value, item.path)),
        open_names=_open(undeclared, "names"), open_reasons=_open(undeclared, "reasons"),
        asking=_asking(document.get("asking", {})),
    )


def _asking(document: object) -> Asking:
    given = _map(document, "asking", ("by", "target", "window_days", "cap", "cap_days", "least", "most"))
    plain = Asking()
    by = tuple(_choice(one, "asking.by", tuple(STRATA)) for one in _list(given.get("by", list(plain.by)), "asking.by"))
    numbers = {key: _number(given.get(key, default), f"asking.{key}") for key, default in (
        ("target", plain.target), ("window_days", plain.window / DAY), ("cap", plain.cap),
        ("cap_days", plain.cap_window / DAY), ("least", plain.least), ("most", plain.most))}
    if not 0 < numbers["least"] <= numbers["most"] <= 1 or len(set(by)) != len(by):
        raise TaxonomyError("asking", "needs 0 < least <= most <= 1, and each key of by once")
    for key in ("target", "window_days", "cap", "cap_days"):
        if numbers[key] < 1 or (key in ("target", "cap") and not numbers[key].is_integer()):
            raise TaxonomyError(f"asking.{key}", "must be at least 1, and target and cap whole numbers")
    return Asking(by, int(numbers["target"]), numbers["window_days"] * DAY, int(numbers["cap"]),
                  numbers["cap_days"] * DAY, numbers["least"], numbers["most"])


def _default_scales() -> dict[str, Scale]:
    return {key: _scale(_Item(f"scales.{key}", key, value)) for key, value in _shipped()["scales"].items()}


def _section(document: Mapping[str, Any], key: str, read_one: Callable[[_Item], T]) -> dict[str, T]:
    found = _map(document[key], key)
    return {name: read_one(_Item(f"{key}.{name}", name, value)) for name, value in found.items()}


def _name(item: _Item, scales: Mapping[str, Scale]) -> Name:
    given = item.fields("type", "scale", "labels", "question", "texts")
    if not fields.CODE.fullmatch(item.key) or not item.key.startswith(semconv.NAME_PREFIXES):
        raise TaxonomyError(item.path, f"a name is a-z, 0-9 and _ and begins with {', '.join(semconv.NAME_PREFIXES)}")
    kind = _choice(given.get("type"), f"{item.path}.type", TYPES)
    if BUILT_IN.get(item.key, kind) != kind:
        raise TaxonomyError(f"{item.path}.type", f"{item.key} is always {BUILT_IN[item.key]}")
    for key, needed_by in (("scale", NUMERIC), ("labels", CATEGORICAL)):
        if (key in given) != (kind == needed_by):
            raise TaxonomyError(f"{item.path}.{key}", f"belongs to names of type {needed_by}, which need it")
    scale = scales[_choice(given["scale"], f"{item.path}.scale", tuple(scales))] if kind == NUMERIC else None
    labels = {_label(word, item.path): _choice(value, f"{item.path}.labels.{word}", semconv.POLARITIES)
              for word, value in _map(given.get("labels", {}), f"{item.path}.labels").items()}
    texts = {key: _texts(value, f"{item.path}.texts.{key}")
             for key, value in _map(given.get("texts", {}), f"{item.path}.texts").items()}
    return Name(item.key, kind, scale, labels, _texts(given.get("question", {}), f"{item.path}.question"), texts)


def _scale(item: _Item) -> Scale:
    given = item.fields("min", "max", "step", "bands")
    low, high = (_number(given.get(key), f"{item.path}.{key}") for key in ("min", "max"))
    step = None if given.get("step") is None else _number(given["step"], f"{item.path}.step")
    bands = tuple(_band(_Item(f"{item.path}.bands[{i}]", "", one))
                  for i, one in enumerate(_list(given.get("bands"), f"{item.path}.bands")))
    ends = [band.to for band in bands]
    if not low < high or (step is not None and not 0 < step <= high - low):
        raise TaxonomyError(item.path, "min must be below max, and step must fit between them")
    if not ends or ends[-1] != high or ends[0] < low or sorted(set(ends)) != ends:
        raise TaxonomyError(f"{item.path}.bands", "must go up from min, and the last must end at max")
    return Scale(item.key, low, high, step, bands)


def _band(item: _Item) -> Band:
    given = item.fields("to", "label", "polarity")
    return Band(_number(given.get("to"), f"{item.path}.to"), _label(given.get("label"), f"{item.path}.label"),
                _choice(given.get("polarity"), f"{item.path}.polarity", semconv.POLARITIES))


def _reason(item: _Item) -> Reason:
    given = item.fields("code", "polarity", "label", "last")
    code, last = given.get("code"), given.get("last", False)
    if not isinstance(code, str) or not fields.CODE.fullmatch(code):
        raise TaxonomyError(f"{item.path}.code", "must be 1 to 64 of a-z, 0-9 and _")
    polarities = tuple(_choice(one, f"{item.path}.polarity", semconv.POLARITIES)
                       for one in _list(given.get("polarity"), f"{item.path}.polarity"))
    if not polarities or not isinstance(last, bool):
        raise TaxonomyError(item.path, "needs a list polarity; last is true or false")
    return Reason(code, polarities, _texts(given.get("label", {}), f"{item.path}.label"), last)


def _map(value: object, path: str, allowed: tuple[str, ...] | None = None) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise TaxonomyError(path, "must be a mapping")
    found = cast("Mapping[object, Any]", value)
    for key in found:
        if not isinstance(key, str) or (allowed is not None and key not in allowed):
            raise TaxonomyError(path, f"has an unknown key {key!r}" + (f"; known: {', '.join(allowed or ())}"))
    return cast("dict[str, Any]", dict(found))


def _list(value: object, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise TaxonomyError(path, "must be a list")
    return cast("list[Any]", value)


def _number(value: object, path: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value):
        raise TaxonomyError(path, "must be a number")
    return float(value)


def _choice(value: object, path: str, choices: tuple[str, ...]) -> str:
    if not isinstance(value, str) or value not in choices:
        raise TaxonomyError(path, f"must be one of {', '.join(choices)}")
    return value


def _word(value: object, path: str) -> str:
    if not isinstance(value, str) or not 0 < len(value) <= 64:
        raise TaxonomyError(path, "must be a text of 1 to 64 characters")
    return value


def _label(value: object, path: str) -> str:
    if not isinstance(value, str) or not fields.LABEL.fullmatch(value):
        raise TaxonomyError(path, "must be 1 to 64 letters, digits, spaces, '_', '.' or '-'")
    return value


def _open(undeclared: Mapping[str, Any], key: str) -> bool:
    return _choice(undeclared.get(key, "accept"), f"undeclared.{key}", ("accept", "refuse")) == "accept"


def _texts(value: object, path: str) -> Texts:
    found = _map(value, path)
    for language, text in found.items():
        if not isinstance(text, str) or not 0 < len(text) <= _MOST_TEXT:
            raise TaxonomyError(f"{path}.{language}", f"must be a text of 1 to {_MOST_TEXT} characters")
    return found
