"""Dashboards as TypeScript literals against Grafana's types: what the compiler says about each."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.support.grafana.npm import HERE, modules, tsc

_OPTIONS = {
    "strict": True, "noEmit": True, "skipLibCheck": True, "target": "ES2022", "module": "ESNext",
    "moduleResolution": "Bundler", "types": [],
}
_COMPLAINT = re.compile(r"^(?P<file>[\w-]+)\.ts\(", re.MULTILINE)


def complaints(documents: Mapping[str, Any], folder: Path) -> dict[str, str]:
    """What `tsc --noEmit` in strict mode says about each dashboard; nothing where all is right.

    Raises RuntimeError if it complains about anything but a dashboard.
    """
    (folder / "node_modules").symlink_to(modules(), target_is_directory=True)
    (folder / "literal.ts").write_text((HERE / "literal.ts").read_text(encoding="utf-8"), encoding="utf-8")
    for name, document in documents.items():
        text = json.dumps(document, indent=2)
        code = f"import type {{ Literal }} from './literal';\nexport const dashboard: Literal = {text};\n"
        (folder / f"{name}.ts").write_text(code, encoding="utf-8")
    config = folder / "tsconfig.json"
    config.write_text(json.dumps({"compilerOptions": _OPTIONS, "include": ["*.ts"]}), encoding="utf-8")
    done = tsc(config)
    blamed = {found["file"] for found in _COMPLAINT.finditer(done.stdout)}
    if blamed - set(documents) or (done.returncode and not blamed):
        raise RuntimeError(done.stdout + done.stderr)
    return {name: "\n".join(line for line in done.stdout.splitlines() if line.startswith(f"{name}.ts"))
            for name in blamed}
