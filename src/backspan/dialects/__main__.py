"""``python -m backspan.dialects [--check] FILE``: write the dialect table into a ``collector.yaml``.

With ``--check`` nothing is written; exit 1 says that the file differs from the table.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from backspan.dialects.ottl import written

_FILE = Path("collector/collector.yaml")


def main() -> int:
    """0: written, or nothing differs; 1: ``--check`` found drift."""
    parser = argparse.ArgumentParser(prog="python -m backspan.dialects", description=__doc__)
    parser.add_argument("file", type=Path, nargs="?", default=_FILE, help="the Collector's file (default: %(default)s)")
    parser.add_argument("--check", action="store_true", help="compare, do not write")
    args = parser.parse_args()
    text = args.file.read_text(encoding="utf-8")
    if written(text) == text:
        return 0
    if args.check:
        sys.stderr.write(f"{args.file} differs from the dialect table: python -m backspan.dialects {args.file}\n")
        return 1
    args.file.write_text(written(text), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
