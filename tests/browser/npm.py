"""Packages from npm for the checks in a browser, installed once into the cache. Nothing is installed while tests run.

    python -m tests.browser.npm
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.grafana.npm import node, npm

WANTED = Path(__file__).with_name("package.json")


def folder() -> Path:
    """Where the packages are."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "backspan" / "browser-npm"


def modules() -> Path:
    """The folder `node_modules`. Raises RuntimeError if the packages of `package.json` as it is now are not there."""
    if not _installed():
        raise RuntimeError(f"install the npm packages first: {sys.executable} -m tests.browser.npm")
    return folder() / "node_modules"


def esbuild() -> list[str]:
    """The command that bundles."""
    return [*node(), str(modules() / "esbuild" / "bin" / "esbuild")]


def install() -> None:
    """Install the packages, unless they are there. Raises CalledProcessError when npm fails."""
    if _installed():
        return
    folder().mkdir(parents=True, exist_ok=True)
    names = [f"{name}@{version}" for name, version in json.loads(WANTED.read_bytes())["dependencies"].items()]
    flags = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--no-package-lock", "--prefix", str(folder())]
    subprocess.run([*npm(), "install", *flags, *names], check=True, cwd=folder())
    shutil.copy(WANTED, folder() / "package.json")


def _installed() -> bool:
    copy = folder() / "package.json"
    return copy.is_file() and copy.read_bytes() == WANTED.read_bytes()


if __name__ == "__main__":
    install()
