"""Wrapping methods of other people's classes, and unwrapping exactly what was wrapped."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import wrapt

from backspan._guard import say_once
from backspan.instrument._vendors import stand_down

# wrapt 2 split the proxy in two; 1.x has the one.
Proxy: Any = getattr(wrapt, "BaseObjectProxy", wrapt.ObjectProxy)
Wrapper = Callable[[Callable[..., Any], Any, tuple[Any, ...], dict[str, Any]], Any]


class Patches:
    """The patches of one library. A class that was imported anew is patched anew."""

    def __init__(self, library: str) -> None:
        self._library = library
        self._done: list[tuple[Any, str, Any]] = []
        self._below: list[tuple[Any, str, Any]] = []

    def wrap(self, owner: Any, name: str, wrapper: Wrapper) -> bool:
        """Wrap ``owner.name``, defined by ``owner`` itself; False if it is absent or somebody else wrapped it."""
        if any(known is owner and what == name for known, what, _ in self._done):
            return True
        original = owner.__dict__.get(name)
        if original is None:
            if not self._done:  # the first method of a library is the one without which there is nothing
                known = f"{owner.__module__}.{owner.__qualname__}.{name}"
                say_once(f"patch:{self._library}", f"this {self._library} has no {known}; it is not instrumented")
            return False
        if isinstance(original, Proxy):
            stand_down(self._library, "somebody else's wrapper")
            return False
        wrapt.wrap_function_wrapper(owner, name, wrapper)
        self._done.append((owner, name, original))
        return True

    def wrap_below(self, owner: Any, name: str, wrapper: Wrapper, below: Iterable[Any]) -> None:
        """Wrap ``name`` in those classes ``below`` that hide ``owner.name``, which `wrap` wrapped before.

        Instrumentations that patch a subclass hide our wrapper while they are on (then this says so), and leave the
        original there when they are switched off, where it goes on hiding it.
        """
        original = next((known for kind, what, known in self._done if (kind, what) == (owner, name)), None)
        for kind in below:
            hiding: Any = kind.__dict__.get(name)
            if hiding is original:
                self.wrap(kind, name, wrapper)
            elif hiding is not None and getattr(hiding, "_self_wrapper", None) is not wrapper:
                stand_down(self._library, "somebody else's wrapper")
        self._below.extend((kind, name, original) for kind in below)

    def undo(self) -> None:
        """Put the originals back, except where somebody wrapped our wrapper since: that would undo theirs."""
        while self._done:
            owner, name, original = self._done.pop()
            present = owner.__dict__.get(name)
            if getattr(present, "__wrapped__", None) is original:
                setattr(owner, name, original)
        while self._below:  # where our wrapper was left by somebody who took it for the original
            kind, name, original = self._below.pop()
            if getattr(kind.__dict__.get(name), "__wrapped__", None) is original:
                setattr(kind, name, original)
