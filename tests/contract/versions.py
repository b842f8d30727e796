"""What the versions of the client have and have not: the only place where a test of the contract may stay away."""

from __future__ import annotations

import sys
from typing import Any

import openai
import pytest

VERSION = tuple(int(part) for part in openai.__version__.split(".")[:2])
SINCE: dict[str, tuple[int, int]] = {
    "parse": (1, 40),
    "helper": (1, 40),
    "responses": (1, 66),
}
"""What a test needs -> the first version of the matrix that has it."""
PARSES_INSIDE = VERSION >= (1, 66)
"""Whether `parse` fails inside the request; in older versions the request was fine, and what fails comes after it."""
OMIT: Any = getattr(openai, "omit", openai.NOT_GIVEN)


def has(name: str | None) -> bool:
    """Tell whether the installed client has ``name`` of `SINCE`; None is what all have."""
    return name is None or VERSION >= SINCE[name]


def needs(name: str) -> pytest.MarkDecorator:
    """Skip a test where the client has no ``name``."""
    return pytest.mark.skipif(not has(name), reason=f"openai {openai.__version__} has no {name}")


needs_timeout = pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 has no asyncio.timeout")


def parse(client: Any, **more: Any) -> Any:
    """``chat.completions.parse``, which was in ``beta`` first."""
    home = client.chat.completions
    return (home if hasattr(home, "parse") else client.beta.chat.completions).parse(**more)


def helper(client: Any, **more: Any) -> Any:
    """``chat.completions.stream``, which was in ``beta`` first."""
    home = client.chat.completions
    return (home if hasattr(home, "stream") else client.beta.chat.completions).stream(**more)
