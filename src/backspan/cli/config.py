"""``backspan config``: every setting, its value and where it came from."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from typing import Any, cast

from backspan.cli import print_json
from backspan.config import SETTINGS, read

NAME = "config"
HELP = "Show every setting, its value and where it came from; secrets are masked."
_SECRETS = {"BACKSPAN_API_KEY", "BACKSPAN_TOKEN_KEYS"}
_SECRET_PARTS = ("HEADERS", "KEY", "TOKEN", "SECRET", "PASSWORD")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``config``."""
    parser.add_argument("--json", action="store_true", help="print a list of objects")


def rows(environ: Mapping[str, str]) -> list[dict[str, Any]]:
    """One row per setting of ours, then one per ``OTEL_*`` variable that is set; secrets are masked."""
    values = read(environ)
    ours = [
        _row(setting.variable, getattr(values, setting.field), bool(environ.get(setting.variable)))
        for setting in SETTINGS
    ]
    names = {setting.variable for setting in SETTINGS}
    theirs = [_row(name, environ[name], True) for name in sorted(environ) if name.startswith("OTEL_")]
    return ours + [row for row in theirs if row["name"] not in names]


def _row(name: str, value: Any, given: bool) -> dict[str, Any]:
    secret = name in _SECRETS or (name.startswith("OTEL_") and name.endswith(_SECRET_PARTS))
    shown = "(set)" if secret and value else value
    return {"name": name, "value": shown, "origin": "environment" if given else "default"}


def _text(value: Any) -> str:
    if value is None or value == () or value == "":
        return "-"
    if isinstance(value, bool):
        return "on" if value else "off"
    words = cast("tuple[str, ...]", value) if isinstance(value, tuple) else (str(value),)
    return ", ".join(words)


def run(args: argparse.Namespace) -> int:
    """Print the settings; return 0."""
    found = rows(os.environ)
    if args.json:
        print_json(found)
        return 0
    width = max(len(row["name"]) for row in found)
    for row in found:
        print(f"{row['name']:<{width}}  {_text(row['value']):<24}  {row['origin']}")
    return 0
