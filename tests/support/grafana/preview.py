"""Pictures of the dashboards without Grafana: the same JSON, live data, drawn by uPlot in headless Chromium.

    python -m tests.support.grafana.preview --prometheus http://127.0.0.1:9090 --tempo http://127.0.0.1:3200

Grafana draws its lines with uPlot too, but the rest is ours: a preview shows what the queries say and how the panels
are laid out, not what Grafana looks like. Needs Chromium and the packages of `tests.support.grafana.npm`.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.support.grafana.ask import Json, Question, Sources, annotations
from tests.support.grafana.expand import View
from tests.support.grafana.frames import frame
from tests.support.grafana.npm import modules

from backspan._assets import asset

HERE = Path(__file__).parent
WIDTH, UNIT, HEAD = 1600, 38, 110
"""Pixels: of the page, of a row of the grid, of what stands above it."""
NOTE = "Preview: live data drawn by uPlot. This is not Grafana."


def picture(document: Json, sources: Sources, view: View) -> str:
    """A page of HTML with everything in it."""
    rows = [{"kind": "row", "title": one["title"], "grid": one["gridPos"]}
            for one in document["panels"] if one["type"] == "row"]
    shown = [frame(panel, sources, view) for panel in document["panels"] if panel["type"] != "row"]
    chosen = [(name, value.raw or ", ".join(value.values)) for name, value in view.chosen.items()]
    data = {"title": document["title"], "note": NOTE, "start": view.start, "end": view.end, "step": view.step,
            "variables": chosen, "panels": rows + shown, "marks": _marks(document, sources, view)}
    made = modules() / "uplot" / "dist"
    text = (HERE / "preview.html").read_text(encoding="utf-8")
    for mark, put in (("/*UPLOT_CSS*/", (made / "uPlot.min.css").read_text(encoding="utf-8")),
                      ("/*UPLOT_JS*/", (made / "uPlot.iife.min.js").read_text(encoding="utf-8")),
                      ("/*DATA*/null", json.dumps(data).replace("</", "<\\/"))):
        text = text.replace(mark, put)
    return text


def _marks(document: Json, sources: Sources, view: View) -> list[Json]:
    """Where an annotation begins."""
    found: list[Any] = []
    for one in annotations(document):
        for series in sources.answers(Question(one["name"], one["target"], annotation=True), view):
            times = [float(at) for at, value in series["values"] if float(value) > 0]
            begins = [at for before, at in zip([0.0, *times], times, strict=False) if at - before > 60]
            found += [{"x": at, "color": one["iconColor"]} for at in begins]
    return found


def photograph(url: str, target: Path, height: int, wait_ms: int = 4000) -> None:
    """A picture of a page. Raises RuntimeError without Chromium, CalledProcessError if it fails."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        raise RuntimeError("Chromium is not installed (apt-get install chromium)")
    flags = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--window-size={WIDTH},{height}",
             f"--virtual-time-budget={wait_ms}", f"--screenshot={target}"]
    subprocess.run([browser, *flags, url], check=True, capture_output=True, timeout=180)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090")
    parser.add_argument("--tempo", default="http://127.0.0.1:3200")
    parser.add_argument("--out", type=Path, default=Path("previews"), help="folder of the pictures")
    parser.add_argument("--minutes", type=float, default=60, help="visible range")
    parser.add_argument("--var", action="append", default=[], metavar="NAME=VALUE", help="a variable of the dashboards")
    parser.add_argument("names", nargs="*", help="dashboards (default: all)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    sources, end = Sources(args.prometheus, args.tempo), time.time()
    for path in sorted(asset("grafana/dashboards").glob("*.json")):
        if args.names and path.stem not in args.names:
            continue
        document = json.loads(path.read_text(encoding="utf-8"))
        said = dict(one.split("=", 1) for one in args.var)
        view = sources.opened(document, View(end - args.minutes * 60, end), **said)
        html = args.out / f"{path.stem}.html"
        html.write_text(picture(document, sources, view), encoding="utf-8")
        height = HEAD + UNIT * max(one["gridPos"]["y"] + one["gridPos"]["h"] for one in document["panels"])
        photograph(html.absolute().as_uri(), args.out / f"{path.stem}.png", height)
        print(f"{args.out / path.stem}.png")


if __name__ == "__main__":
    main()
