"""Put first on ``PYTHONPATH`` by ``backspan run``: opens the gate, then runs the ``sitecustomize`` it hides, if any."""

import os
import sys

_here = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [entry for entry in sys.path if os.path.abspath(entry or ".") != _here]
try:
    from backspan import _boot
except ImportError:  # `backspan run` was given another Python's program
    sys.stderr.write(f"backspan: not installed for {sys.executable}, so nothing is traced there\n")
else:
    _boot.run()

_ours = sys.modules.pop("sitecustomize", None)
try:
    import sitecustomize  # noqa: F401  # the one of the application or of the distribution
except ImportError as error:
    if error.name != "sitecustomize":
        raise
    if _ours is not None:
        sys.modules["sitecustomize"] = _ours
