"""The Grafana SDK needs Python 3.11: below it there is nothing here to collect."""

import sys

collect_ignore_glob = ["test_*.py"] if sys.version_info < (3, 11) else []
