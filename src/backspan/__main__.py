"""``python -m backspan``: the command line, for where the script ``backspan`` is not on ``PATH``."""

from backspan.cli import main

if __name__ == "__main__":
    raise SystemExit(main())
