"""Dashboards as they lie in a folder."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def committed(folder: Path) -> dict[str, dict[str, Any]]:
    """Every dashboard of a folder by the name of its file, without the ending."""
    return {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
