"""``backspan rules``: write the Prometheus rules of a spec, or say how the written ones differ from it."""

from __future__ import annotations

import argparse
import difflib
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from backspan.rules import generate as generator
from backspan.rules import routing
from backspan.rules.spec import Spec, SpecError, load

NAME = "rules"
HELP = "generate Prometheus rules and promtool tests from spc.yaml, or check them for drift"

_OUT = Path("collector/rules")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """``rules generate|check [--spec FILE] [--out DIR] [--json]``."""
    parser.add_argument("action", choices=("generate", "check"), help="write the files, or compare (exit 1 on drift)")
    parser.add_argument("--spec", type=Path, metavar="FILE", help="the spec (default: the one shipped with backspan)")
    parser.add_argument("--out", type=Path, metavar="DIR", default=_OUT, help="folder (default: %(default)s)")
    parser.add_argument(
        "--alertmanager", type=Path, metavar="FILE",
        help="alertmanager.yml that gets the inhibitions of the spec (default: the one beside the folder, if it has"
        " a place for them)")
    parser.add_argument("--json", action="store_true", help="print the result as JSON")


def run(args: argparse.Namespace) -> int:
    """0: written, or nothing differs; 1: ``check`` found drift; 2: the spec or a file cannot be used."""
    try:
        spec = load(args.spec)
        files = {**generator.generate(spec), **_routing(args, spec)}
        changed = generator.drift(files, args.out)
        if args.action == "check":
            return _check(files, changed, args)
        _write(files, changed, args.out)
    except (SpecError, OSError, ValueError) as error:
        print(f"backspan rules: {error}", file=sys.stderr)
        return 2
    _report(changed, args, files)
    return 0


def _routing(args: argparse.Namespace, spec: Spec) -> dict[str, str]:
    """Alertmanager's file with the inhibitions of ``spec``, by its path from the folder of the rules.

    Raises OSError or ValueError if a file that was named cannot be read or has no place for them.
    """
    path: Path = args.alertmanager or args.out.parent / "alertmanager.yml"
    if args.alertmanager is None and not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    if args.alertmanager is None and routing.BEGIN not in text:
        return {}
    return {os.path.relpath(path, args.out): routing.written(text, spec)}


def _write(files: Mapping[str, str], changed: Mapping[str, str | None], out: Path) -> None:
    for name in changed:
        path = out / name
        if name not in files:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(files[name], encoding="utf-8")


def _report(changed: Mapping[str, str | None], args: argparse.Namespace, files: Mapping[str, str]) -> None:
    written = [name for name in changed if name in files]
    removed = [name for name in changed if name not in files]
    if args.json:
        print(json.dumps({"out": str(args.out), "files": list(files), "written": written, "removed": removed}))
        return
    for verb, names in (("wrote", written), ("removed", removed)):
        for name in names:
            print(f"{verb} {args.out / name}")
    if not changed:
        print(f"{args.out}: {len(files)} files are up to date")


def _check(files: Mapping[str, str], changed: Mapping[str, str | None], args: argparse.Namespace) -> int:
    diffs = {name: _diff(args.out / name, there, files.get(name)) for name, there in changed.items()}
    if args.json:
        print(json.dumps({"out": str(args.out), "drift": diffs}))
    else:
        print("".join(diffs.values()), end="")
        spec = f" --spec {args.spec}" if args.spec else ""
        hint = f"; run `backspan rules generate{spec} --out {args.out}`" if diffs else ""
        print(f"{args.out}: {len(diffs)} of {len(files)} files differ{hint}", file=sys.stderr)
    return 1 if diffs else 0


def _diff(path: Path, there: str | None, wanted: str | None) -> str:
    old, new = ((text or "").splitlines(keepends=True) for text in (there, wanted))
    source = "/dev/null" if there is None else str(path)
    target = "/dev/null" if wanted is None else f"{path} (generated)"
    return "".join(difflib.unified_diff(old, new, source, target, n=1))
