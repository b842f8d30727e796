"""``import backspan.auto``: switch instrumentation on from code.

The same as starting the process with ``BACKSPAN=1``, for places where neither a variable nor a ``.pth`` file reaches.
Packages that were imported before are patched now. If ``BACKSPAN`` is set to anything that means off (``BACKSPAN=0``),
or ``OTEL_SDK_DISABLED=true``, the import does nothing, so that operators keep the last word.
"""

from __future__ import annotations

from backspan import _boot, config

if _boot.start():
    config.reload()  # somebody may have asked for the settings before the variable was set
