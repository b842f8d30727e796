"""Wrapping methods of other people's classes, and unwrapping exactly what was wrapped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wrapt

from backspan.instrument._vendors import stand_down

# wrapt 2 split the proxy in two; 1.x has the one.
Proxy: Any = getattr(wrapt, "BaseObjectProxy", wrapt.ObjectProxy)
Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]


class Patches:
    """The patches of one library. A class that was imported anew is patched anew."""

    def __init__(self, library: str) -> None:
        self._library = library
        self._done: list[tuple[Any, str, Any]] = []

    def wrap(self, owner: Any, name: str, wrapper: Wrapper) -> bool:
        """Wrap ``owner.name``, defined by ``owner`` itself; False if it is absent or somebody else wrapped it."""
        if any(known is owner and what == name for known, what, _ in self._done):
            return True
        original = owner.__dict__.get(name)
        if original is None:
            return False
        if isinstance(original, Proxy):
            stand_down(self._library, "somebody else's wrapper")
            return False
        wrapt.wrap_function_wrapper(owner, name, wrapper)
        self._done.append((owner, name, original))
        return True

    def undo(self) -> None:
        """Put the originals back, except where somebody wrapped our wrapper since: that would undo theirs."""
        while self._done:
            owner, name, original = self._done.pop()
            present = owner.__dict__.get(name)
            if getattr(present, "__wrapped__", None) is original:
                setattr(owner, name, original)
