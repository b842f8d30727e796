"""Small file systems that fill up. Needs root, as ``mount`` does."""

from __future__ import annotations

import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def small(folder: Path, megabytes: int) -> Generator[None]:
    """A file system of so many megabytes in place of ``folder``, for the block."""
    _mount(folder, f"size={megabytes}m")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def grow(folder: Path, megabytes: int) -> None:
    """Make a small file system larger, while it is used."""
    _mount(folder, f"remount,size={megabytes}m")


def _mount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(folder)], check=True)
