"""``backspan feedback taxonomy``: what may be said, as YAML; or a file of yours, checked."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from backspan.cli import print_json
from backspan.cli._spc.errors import Fault
from backspan.feedback import taxonomy_file

HELP = "print the taxonomy that ships (names, scales, reasons, texts) to start from, or check one of yours"
_HEAD = "# yaml-language-server: $schema={}\n"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Options of ``taxonomy``."""
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="check this one (YAML or JSON)")
    parser.add_argument("--schema", action="store_true", help="print the JSON schema, for editors")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """0: printed, or the file is fine; 1: it is not. Raises `Fault` if it cannot be read."""
    if args.file is not None:
        return _check(args)
    shown = json.loads((taxonomy_file.SCHEMA if args.schema else taxonomy_file.DEFAULT).read_text("utf-8"))
    if args.schema or args.json:
        print_json(shown)
        return 0
    import yaml  # of the extra `server`

    print(_HEAD.format(taxonomy_file.SCHEMA.name) + yaml.safe_dump(shown, allow_unicode=True, sort_keys=False,
                                                                   width=120), end="")
    return 0


def _check(args: argparse.Namespace) -> int:
    try:
        found = taxonomy_file.load(args.file)
    except OSError as error:
        raise Fault(f"{args.file}: {error.strerror}") from None
    except taxonomy_file.TaxonomyError as error:
        print_json({"file": str(args.file), "error": str(error)}) if args.json else print(f"{args.file}: {error}")
        return 1
    counts = {"names": len(found.names), "scales": len(found.scales), "reasons": len(found.reasons)}
    if args.json:
        print_json({"file": str(args.file), "revision": found.revision, **counts})
    else:
        print(f"{args.file}: revision {found.revision}, " + ", ".join(f"{n} {key}" for key, n in counts.items()))
    return 0
