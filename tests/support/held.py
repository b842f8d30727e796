"""Ports that stay ours while nobody listens on them, so that a program that starts, or starts again, finds its own.

Such a port is bound and not listened on: the system gives it to nobody else, who connects to it is refused, and a
program that sets SO_REUSEADDR, as servers do, may listen on it all the same.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import fields

from backspan.cli._stack.plan import Ports
from tests.support.processes import reserved


@contextmanager
def hold(port: int = 0) -> Generator[int]:
    """A port of loopback, for the block: any free one, or ``port``, on which nobody may be listening when it begins."""
    with reserved(port) as holder:
        yield holder.getsockname()[1]


@contextmanager
def ports() -> Generator[Ports]:
    """All ports of a stack, held for the block."""
    with ExitStack() as stack:
        yield Ports(**{one.name: stack.enter_context(hold()) for one in fields(Ports)})


def option(chosen: Ports) -> str:
    """The option of ``backspan stack up`` that names them all."""
    return f"--ports={','.join(f'{name}={port}' for name, port in vars(chosen).items())}"
