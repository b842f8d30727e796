"""Make `web/widget.js`, the one file that pages load, from its sources in `web/widget/`.

    python -m tests.browser.bundle           write it
    python -m tests.browser.bundle --check   exit 1 if it is not what its sources say
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.browser import npm

WEB = Path(str(files("backspan.server"))) / "web"
BUNDLE = WEB / "widget.js"
NOTICE = "// backspan, Apache-2.0; sources: web/widget/"
INSIDE = ("aboutOpen panelOpen toggleAbout toggleReason toggleOptOut openPanel closePanel onsync asksFactual "
          "otherToken optedOut sealed ballot submit reveal acted corrected agreed asksImprove words draft facts kind "
          "points restore allow prefer").split()
"""Properties that no page, no route of the API and no storage knows by these names: they are shortened."""


def made() -> str:
    """The bundle of the sources as they are now."""
    with TemporaryDirectory() as folder:
        copy = Path(shutil.copytree(WEB / "widget", Path(folder) / "widget"))
        styles = copy / "styles.css"
        styles.write_text(_esbuild(styles, "--minify"), encoding="utf-8")
        return _esbuild(copy / "index.js", "--bundle", "--minify", "--format=esm", "--loader:.css=text",
                        f"--mangle-props=^({'|'.join(INSIDE)})$", f"--banner:js={NOTICE}")


def _esbuild(path: Path, *flags: str) -> str:
    command = [*npm.esbuild(), str(path), *flags, "--target=es2022", "--charset=utf8", "--log-level=warning"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


def main() -> int:
    """Write or check."""
    wanted = made()
    if "--check" not in sys.argv:
        BUNDLE.write_text(wanted, encoding="utf-8")
        return 0
    if BUNDLE.read_text(encoding="utf-8") == wanted:
        return 0
    print(f"{BUNDLE} is not what its sources say: run python -m tests.browser.bundle", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
