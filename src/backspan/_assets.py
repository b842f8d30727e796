"""The folders and files that ship beside the code: configuration, dashboards, examples."""

from __future__ import annotations

from pathlib import Path


def asset(name: str) -> Path:
    """Folder or file that ships with backspan: from the checkout if there is one, else from the wheel.

    Raises:
        FileNotFoundError: if neither has it.
    """
    here = Path(__file__).resolve()
    for base in (here.parents[2], here.parent / "assets"):
        if (base / "pyproject.toml").is_file() or base.name == "assets":
            if (base / name).exists():
                return base / name
    raise FileNotFoundError(f"backspan ships no {name!r}")
