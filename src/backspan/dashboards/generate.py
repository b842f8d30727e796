"""Dashboards -> files. The same spec always gives the same bytes."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from grafana_foundation_sdk.cog.encoder import JSONEncoder

from backspan.dashboards import quality
from backspan.rules.spec import Spec


def generate(spec: Spec) -> dict[str, str]:
    """Text of every dashboard by its file name."""
    text = json.dumps(quality.dashboard(spec), cls=JSONEncoder, indent=2, sort_keys=True)
    return {"backspan.json": f"{text}\n"}


def drift(files: Mapping[str, str], out: Path) -> dict[str, str | None]:
    """What differs below ``out``: file name -> text that stands there, None if the file is missing.

    Raises OSError and UnicodeDecodeError for files that cannot be read.
    """
    there = {name: (out / name).read_text(encoding="utf-8") if (out / name).is_file() else None for name in files}
    return {name: text for name, text in there.items() if text != files[name]}
