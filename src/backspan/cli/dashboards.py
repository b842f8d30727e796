"""``backspan dashboards``: write the Grafana dashboards, or say how the written ones differ."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Mapping
from pathlib import Path

from backspan.cli import print_json
from backspan.rules.spec import SpecError, load

NAME = "dashboards"
HELP = "generate the Grafana dashboards, or check them for drift"

_OUT = Path("grafana/dashboards")
_PYTHON = (3, 11)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``dashboards generate|check [--spec FILE] [--out DIR] [--json]``."""
    parser.add_argument("action", choices=("generate", "check"), help="write the files, or compare (exit 1 on drift)")
    parser.add_argument("--spec", type=Path, metavar="FILE", help="the charts (default: those shipped with backspan)")
    parser.add_argument("--out", type=Path, metavar="DIR", default=_OUT, help="folder (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """0: written, or nothing differs; 1: ``check`` found drift; 2: the spec or a file cannot be used."""
    if sys.version_info < _PYTHON:
        print("backspan dashboards: the Grafana SDK needs Python 3.11 or newer; the generated files need none",
              file=sys.stderr)
        return 2
    from backspan.dashboards import generate as generator

    try:
        files = generator.generate(load(args.spec))
        changed = generator.drift(files, args.out)
        if args.action == "generate":
            _write(files, changed, args.out)
    except (SpecError, OSError, UnicodeDecodeError) as error:
        print(f"backspan dashboards: {error}", file=sys.stderr)
        return 2
    return _check(files, changed, args) if args.action == "check" else _report(changed, args)


def _write(files: Mapping[str, str], changed: Mapping[str, str | None], out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    for name in changed:
        (out / name).write_text(files[name], encoding="utf-8")


def _report(changed: Mapping[str, str | None], args: argparse.Namespace) -> int:
    if args.json:
        print_json({"out": str(args.out), "written": list(changed)})
        return 0
    for name in changed:
        print(f"wrote {args.out / name}")
    if not changed:
        print(f"{args.out}: up to date")
    return 0


def _check(files: Mapping[str, str], changed: Mapping[str, str | None], args: argparse.Namespace) -> int:
    diffs = {name: _diff(args.out / name, there, files[name]) for name, there in changed.items()}
    if args.json:
        print_json({"out": str(args.out), "drift": diffs})
    else:
        print("".join(diffs.values()), end="")
        hint = "; run `backspan dashboards generate`" if diffs else ""
        print(f"{args.out}: {len(diffs)} of {len(files)} files differ{hint}", file=sys.stderr)
    return 1 if diffs else 0


def _diff(path: Path, there: str | None, wanted: str) -> str:
    old, new = ((text or "").splitlines(keepends=True) for text in (there, wanted))
    source = "/dev/null" if there is None else str(path)
    return "".join(difflib.unified_diff(old, new, source, f"{path} (generated)", n=1))
