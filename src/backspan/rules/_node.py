"""A value of a parsed document together with where it stands, so that every complaint names its path."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from typing import Any, NoReturn, cast

import yaml

_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class SpecError(ValueError):
    """A spec that cannot be used. ``path`` says where, as in ``charts[0].baseline.p0``; ``line`` counts from 1."""

    def __init__(self, path: str, message: str, line: int | None = None) -> None:
        self.path = path
        self.message = message
        self.line = line
        super().__init__(f"{f'line {line}: ' if line else ''}{path or 'spec'}: {message}")

    def at(self, lines: Mapping[str, int]) -> SpecError:
        """The same complaint with its line: that of the path, or of the nearest thing around it."""
        path = self.path
        while path and path not in lines:
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return SpecError(self.path, self.message, lines.get(path))


def lines_of(text: str) -> dict[str, int]:
    """Line of every value of a YAML text by its path, as `SpecError` spells it. Raises ``yaml.YAMLError``."""
    found: dict[str, int] = {}
    pending: list[tuple[str, Any]] = [("", yaml.compose(text, Loader=yaml.SafeLoader))]
    while pending:
        path, node = pending.pop()
        if isinstance(node, yaml.MappingNode):
            for key, value in cast("list[tuple[yaml.Node, yaml.Node]]", node.value):
                child = _join(path, str(key.value))
                found[child] = key.start_mark.line + 1
                pending.append((child, value))
        elif isinstance(node, yaml.SequenceNode):
            for i, value in enumerate(cast("list[yaml.Node]", node.value)):
                found[f"{path}[{i}]"] = value.start_mark.line + 1
                pending.append((f"{path}[{i}]", value))
    return found


@dataclass(frozen=True)
class Node:
    """A value and its path. Every reader raises `SpecError` if the value is not what it reads."""

    path: str
    value: Any

    def fail(self, message: str) -> NoReturn:
        """Raise `SpecError` for this path."""
        raise SpecError(self.path, message)

    def fields(self, required: Sequence[str], optional: Sequence[str] = ()) -> dict[str, Node]:
        """The mapping's values by key; unknown and missing keys are refused."""
        children = self.mapping()
        for key in children:
            if key not in required and key not in optional:
                known = ", ".join((*required, *optional))
                raise SpecError(_join(self.path, key), f"unknown key; known here: {known}")
        for key in required:
            if key not in children:
                raise SpecError(_join(self.path, key), "is missing")
        return children

    def mapping(self) -> dict[str, Node]:
        """A mapping with text keys, in its order."""
        value: object = self.value
        if not isinstance(value, dict):
            self.fail(f"must be a mapping, got {_show(value)}")
        items = cast("dict[Any, Any]", value)
        for key in items:
            if not isinstance(key, str):
                self.fail(f"keys must be text, got {_show(key)}")
        return {key: Node(_join(self.path, key), child) for key, child in items.items()}

    def items(self) -> list[Node]:
        """A list that is not empty."""
        value: object = self.value
        items = cast("list[Any]", value) if isinstance(value, list) else []
        if not items:
            self.fail(f"must be a list with at least one entry, got {_show(self.value)}")
        return [Node(f"{self.path}[{i}]", child) for i, child in enumerate(items)]

    def text(self) -> str:
        """A text that is not empty."""
        if not isinstance(self.value, str) or not self.value:
            self.fail(f"must be a text, got {_show(self.value)}")
        return self.value

    def name(self) -> str:
        """A name fit for a metric: ``[a-z][a-z0-9_]*``, at most 64 characters."""
        value = self.text()
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,63}", value):
            self.fail(f"must be a name of a-z, 0-9 and _ that begins with a letter, got {_show(value)}")
        return value

    def boolean(self) -> bool:
        """True or false."""
        if not isinstance(self.value, bool):
            self.fail(f"must be true or false, got {_show(self.value)}")
        return self.value

    def url(self) -> str:
        """An address such as ``https://host/path``, without the slash at its end."""
        value = self.text()
        if not re.fullmatch(r"https?://[^\s\"{}]+", value):
            self.fail(f"must be an address such as https://grafana.example.org, got {_show(value)}")
        return value.rstrip("/")

    def selector(self) -> str:
        """The PromQL selector of a counter: a name, with matchers or without, and nothing else."""
        value = self.text().strip()
        if not re.fullmatch(r"[a-zA-Z_:][a-zA-Z0-9_:]*(\{[^{}]*\})?", value):
            self.fail(f"must be a plain selector of a counter such as name{{label=\"value\"}}, got {_show(value)}")
        return value

    def choice(self, known: Sequence[str]) -> str:
        """One of ``known``."""
        if self.value not in known:
            self.fail(f"must be one of {', '.join(known)}, got {_show(self.value)}")
        return str(self.value)

    def number(self, low: float, high: float) -> float:
        """A number strictly between ``low`` and ``high``."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not isfinite(value):
            self.fail(f"must be a number, got {_show(value)}")
        if not low < value < high:
            self.fail(f"must lie between {low:g} and {high:g}, got {value:g}")
        return float(value)

    def integer(self, low: int, high: int) -> int:
        """A whole number from ``low`` to ``high``, both included."""
        value = self.value
        if isinstance(value, bool) or not isinstance(value, int):
            self.fail(f"must be a whole number, got {_show(value)}")
        if not low <= value <= high:
            self.fail(f"must be from {low} to {high}, got {value}")
        return value

    def duration(self, low: int, high: int) -> int:
        """A duration such as ``15s`` or ``1h30m``, as seconds from ``low`` to ``high``, both included."""
        parts = _DURATION.findall(self.value) if isinstance(self.value, str) else []
        if not parts or "".join(a + b for a, b in parts) != self.value or any(unit == "ms" for _, unit in parts):
            self.fail(f"must be a duration in whole seconds such as 15s, 1m or 6h, got {_show(self.value)}")
        seconds = sum(int(amount) * _SECONDS[unit] for amount, unit in parts)
        if not low <= seconds <= high:
            self.fail(f"must be from {write_duration(low)} to {write_duration(high)}, got {self.value}")
        return seconds


def write_duration(seconds: float) -> str:
    """Prometheus spelling of a duration, in as few units as it takes: ``1h30m``, ``59m59s500ms``."""
    rest, out = round(seconds * 1000), ""
    for unit, size in (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        amount, rest = divmod(rest, size)
        if amount:
            out += f"{amount}{unit}"
    return out or "0s"


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
