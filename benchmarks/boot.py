"""What each start of an interpreter pays: one read of `backspan.pth`, with the variable unset and set.

    python benchmarks/boot.py [--runs 60] [--json]

Both figures are CPU time of the main thread, medians over fresh interpreters that were started without `site`; the file
is then read by `site.addpackage` as `site` would, after another `.pth`, as what the first of all costs is not ours. On
and off take turns. Bytecode is compiled before. Some versions of Python read the folder of a virtual environment twice;
the second time the hook is in place. Exit 1 if a limit is missed.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import tempfile
from pathlib import Path
from statistics import median

UNSET_US, SET_US = 60.0, 1000.0
_CODE = """
import site, sys
from time import thread_time_ns as now
folder, source, other = sys.argv[1:]
sys.path.append(folder)
if source:
    sys.path.append(source)
site.addpackage(other, "other.pth", None)
began = now()
site.addpackage(folder, "backspan.pth", None)
print(now() - began)
"""


def once(variable: str | None, other: str) -> float:
    """Microseconds for the first read in a fresh interpreter; ``other`` is a folder with ``other.pth``."""
    folder = sysconfig.get_path("purelib")
    source = Path(__file__).resolve().parents[1] / "src"
    editable = (Path(folder) / "_editable_impl_backspan.pth").exists()
    left_out = ("BACKSPAN", "OTEL_", "PYTHONDONTWRITEBYTECODE")
    env = {name: value for name, value in os.environ.items() if not name.startswith(left_out)}
    if variable is not None:
        env["BACKSPAN"] = variable
    command = [sys.executable, "-S", "-c", _CODE, folder, str(source) if editable else "", other]
    return int(subprocess.run(command, env=env, capture_output=True, check=True, text=True).stdout) / 1000


def measure(runs: int) -> dict[str, float]:
    """Median microseconds, unset and set; the first run of each kind only compiles."""
    unset, on = [], []
    with tempfile.TemporaryDirectory() as other:
        (Path(other) / "other.pth").write_text("import os\n", encoding="utf-8")
        for _ in range(runs + 1):
            unset.append(once(None, other))
            on.append(once("1", other))
    return {"unset_us": round(median(unset[1:]), 1), "set_us": round(median(on[1:]), 1)}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=60)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found = measure(args.runs)
    if args.json:
        print(json.dumps(found))
    else:
        print(f"unset {found['unset_us']:.0f} µs (at most {UNSET_US:.0f}), set {found['set_us']:.0f} µs ({SET_US:.0f})")
    return int(found["unset_us"] > UNSET_US or found["set_us"] > SET_US)


if __name__ == "__main__":
    raise SystemExit(main())
