"""The databases of tests: SQLite files, or, with ``--database``, databases of one PostgreSQL server in their place.

Making the tables costs more than most tests of the store, so it is done once, by the store itself, and copied.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.postgres import Postgres
from tests.support.processes import environment

SQLITE = "sqlite"
wanted = SQLITE
"""What ``--database`` says; see `tests.conftest`."""
_MAKE = """
import sys
from backspan.store.engines import connect
for engine in connect(sys.argv[1]):
    engine.dispose()
"""
_known: dict[Path, str] = {}
_server: list[Postgres] = []
_models: dict[str, str] = {}
"""What is copied, by kind: a file, or the name of a database."""


def on_postgresql() -> bool:
    """Tell whether tests run on PostgreSQL."""
    return wanted != SQLITE


def server() -> Postgres:
    """The server of this session, started when it is first asked for."""
    if not _server:
        _server.append(Postgres(wanted).start())
    return _server[0]


def at(path: Path, *, bare: bool = False) -> str:
    """SQLAlchemy URL of the file ``path``, or of the database that stands for it, made when it is first asked for.

    It has the tables, and nothing in them. ``bare``: it has no tables (and no file) either, as a first start finds it.
    """
    if not on_postgresql():
        path.parent.mkdir(parents=True, exist_ok=True)
        if not bare and not path.exists():
            shutil.copyfile(_file(), path)
        return f"sqlite:///{path}"
    if path not in _known:
        _known[path] = server().database(model=None if bare else _database())
    return _known[path]


def _file() -> str:
    if SQLITE not in _models:
        file = Path(tempfile.mkdtemp(prefix="model-")) / "model.db"
        _tables(f"sqlite:///{file}")
        _models[SQLITE] = str(file)
    return _models[SQLITE]


def _database() -> str:
    if wanted not in _models:
        _tables(server().database("model"))
        _models[wanted] = "model"
    return _models[wanted]


def _tables(url: str) -> None:
    """Make the tables, in a process of its own: what the test that asks first has set or patched is not in them."""
    done = subprocess.run([sys.executable, "-c", _MAKE, url], env=environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def arguments(path: Path) -> list[str]:
    """What tells a command of ours to use it."""
    return ["--database", at(path).replace("+psycopg", "")] if on_postgresql() else ["--db", str(path)]


def drop(*paths: Path) -> None:
    """Take databases away, whoever is connected; files are left to pytest."""
    for path in paths:
        url = _known.pop(path, None)
        if url is not None:
            server().drop(url)


def under(folder: Path) -> list[Path]:
    """What stands for files in a folder."""
    return [path for path in _known if folder in path.parents]


def close() -> None:
    """End the server, and take the copied file away."""
    while _server:
        _server.pop().close()
    if SQLITE in _models:
        shutil.rmtree(Path(_models[SQLITE]).parent, ignore_errors=True)
    _known.clear()
    _models.clear()
