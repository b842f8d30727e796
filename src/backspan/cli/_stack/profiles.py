"""Profiles of the Collector: files that are merged over ``collector.yaml``, chosen by name or by path."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from backspan._assets import asset

SECRETS = ("COLLECTOR_CERT_FILE", "COLLECTOR_KEY_FILE", "COLLECTOR_TOKENS_FILE")
"""Variables that name a file which the Collector reads; without it, it does not start."""
INSIDE, LOGS = "COLLECTOR_INSIDE_HTTP", "COLLECTOR_LOGS_FILE"
_READ = re.compile(r"\$\{env:(\w+)")


class WrongProfile(Exception):
    """A profile does not exist, or lacks what it needs; the message says what."""


def shipped() -> dict[str, Path]:
    """The profiles that come with backspan, by name."""
    return {path.stem: path for path in sorted(asset("collector/profiles").glob("*.yaml"))}


def find(given: Iterable[str]) -> tuple[Path, ...]:
    """The file of each: a name of `shipped`, or a path. Absolute.

    Raises:
        WrongProfile: for a word that is neither.
    """
    return tuple(_find(one) for one in given)


def _find(given: str) -> Path:
    known = shipped()
    path = known.get(given) or Path(given).expanduser().absolute()
    if not path.is_file():
        raise WrongProfile(f"there is no profile {given!r}: give one of {', '.join(known)}, or a file")
    return path


def copies(profiles: Iterable[Path], folder: Path) -> dict[Path, Path]:
    """Where each profile is copied to in ``folder``: two may have the same name."""
    return {path: folder / f"{number}-{path.name}" for number, path in enumerate(profiles, 1)}


def variables(profiles: Iterable[Path]) -> set[str]:
    """Names of the environment variables that the profiles read."""
    return {name for path in profiles for name in _READ.findall(path.read_text(encoding="utf-8"))}


def secrets(profiles: Iterable[Path], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The files that the profiles need, absolute, by variable.

    Raises:
        WrongProfile: if one is not set, or is no file that can be read.
    """
    wanted = sorted(variables(profiles).intersection(SECRETS))
    found = {name: Path(environ[name]).expanduser().absolute() for name in wanted if environ.get(name)}
    if missing := [name for name in wanted if name not in found]:
        raise WrongProfile(f"the profile needs {', '.join(missing)} in the environment, each the path of a file")
    for name, path in found.items():
        if not os.access(path, os.R_OK) or not path.is_file():
            raise WrongProfile(f"{name}: {path} is no file that can be read")
    return {name: str(path) for name, path in found.items()}
