"""A real store, with a clock that only the test moves, and workers on the same database."""

import pytest

from backspan.loop.worker import Worker
from backspan.store.engines import connect
from tests.store.conftest import clock, make
from tests.support import databases

__all__ = ["clock", "hire", "make"]


@pytest.fixture
def hire(make, tmp_path, clock):
    """Make workers on the store's database, each with a connection of its own, as a process would have."""
    engines = []

    def build(*jobs, holder, **more):
        engines.extend(connect(databases.at(tmp_path / "s.db")))
        return Worker(engines[-2], jobs, holder=holder, clock=clock, **more)

    yield build
    for engine in engines:
        engine.dispose()
