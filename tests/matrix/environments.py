"""The environments of the matrix: which versions there are, and how each is built and kept outside the tree."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "backspan" / "matrix"


@dataclass(frozen=True)
class Row:
    """One environment: what is installed beside the wheel, and for which Python (None: the one that runs the tests)."""

    requirements: tuple[str, ...]
    python: str | None = None

    @property
    def id(self) -> str:
        """A name for the test and for the folder."""
        return "-".join([*self.requirements, *([f"py{self.python}"] if self.python else [])])


TOOLS = ("pytest>=9.1,<10", "trio>=0.27", "jsonschema>=4.23")
"""What the tests of the contract need beside the client."""
NEWEST = Row(("openai[realtime]<4",))
ROWS = (
    Row(("openai==1.26.0", "httpx<0.28")),
    Row(("openai==1.40.0", "httpx<0.28")),
    Row(("openai[realtime]==1.66.0",)),
    Row(("openai[realtime]==1.109.1",)),
    Row(("openai[realtime]==2.54.0",)),
    Row(("openai[realtime]==3.0.0",)),
    NEWEST,
    Row(("openai[realtime]<4",), "3.10"),
    Row(("openai[realtime]<4",), "3.12"),
    Row(("openai[realtime]<4",), "3.13"),
)


def interpreter(version: str | None) -> str | None:
    """A Python of that version: the running one, one on `PATH`, or one of pyenv; None if there is none."""
    if version is None or f"{sys.version_info[0]}.{sys.version_info[1]}" == version:
        return sys.executable
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    found = [shutil.which(f"python{version}"), *map(str, sorted(pyenv.glob(f"{version}.*/bin/python"), reverse=True))]
    return next((path for path in found if path and _is(path, version)), None)


def _is(path: str, version: str) -> bool:
    """Whether it runs and is that version; a shim of pyenv may be there and not run."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    done = subprocess.run([path, "-c", code], capture_output=True, text=True, timeout=30)
    return done.stdout.strip() == version


def build(row: Row, python: str, wheel: Path) -> Path:
    """The row's interpreter, in an environment that is made once and then gets each new wheel.

    Raises:
        RuntimeError: if an installation fails, with its output.
    """
    made_of = hashlib.sha256(repr((row, os.path.realpath(python))).encode()).hexdigest()[:12]
    folder = CACHE / made_of
    inner, ready = folder / "bin" / "python", folder / ".ready"
    if not ready.exists():
        shutil.rmtree(folder, ignore_errors=True)
        _run(python, "-m", "venv", folder)
        _pip(inner, "install", "--upgrade", "pip")
        ready.touch()
    _pip(inner, "install", "--force-reinstall", "--no-deps", wheel)
    # What the wheel needs may have changed, and the newest client is newer than it was.
    _pip(inner, "install", "--upgrade", wheel, *row.requirements, *TOOLS)
    return inner


def _pip(python: Path, *arguments: str | Path) -> None:
    _run(python, "-m", "pip", arguments[0], "--quiet", "--disable-pip-version-check", "--no-input", *arguments[1:])


def _run(*command: str | Path) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
