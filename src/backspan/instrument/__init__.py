"""What is instrumented: one table from an imported package to the file of ours that knows it.

The import hook calls `imported` right after the application has imported a package of `TARGETS`. The file is loaded
only then, so nothing of a library, of OpenTelemetry or of wrapt is loaded for an application that does not use it.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType

from backspan._guard import guard, guarded, say_once

TARGETS: dict[str, str] = {
    "openai": "backspan.instrument.openai",
    "qdrant_client": "backspan.instrument.qdrant",
    "httpx": "backspan.instrument.httpx",
    "httpx2": "backspan.instrument.httpx",
}
"""Package -> the module that instruments it, by ``instrument(package)``, and can undo that, by ``uninstrument()``."""


@guarded
def imported(package: ModuleType) -> None:
    """Instrument ``package``, which has just been imported. Harmless when repeated."""
    name = package.__name__
    try:
        integration = import_module(TARGETS[name])
    except ImportError as error:
        say_once(f"instrument:{name}", f"{name} is not instrumented: {error.name or 'a module'} is missing")
        return
    integration.instrument(package)
    from backspan import telemetry  # loaded by the integration already

    telemetry.end_on_sigterm()


def uninstrument() -> None:
    """Take every patch back."""
    for name in sorted(set(TARGETS.values())):
        integration = sys.modules.get(name)
        if integration is not None:
            with guard(f"uninstrument {name}"):
                integration.uninstrument()
