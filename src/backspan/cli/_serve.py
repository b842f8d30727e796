"""What ``up`` and ``gateway`` share: open the store, take the port, say one line, serve."""

from __future__ import annotations

import logging
import sys

from backspan.rules.spec import SpecError
from backspan.server.app import create_app
from backspan.server.config import ServerConfig
from backspan.server.run import PortBusy, listen, serve
from backspan.store import StoreError


class Refused(Exception):
    """The server cannot start; the message says why and what to do."""


def serve_forever(config: ServerConfig, host: str, port: int, stored: str, hint: str) -> int:
    """Serve until told to stop; 0 then.

    Raises:
        Refused: when the port, the database or the spec cannot be used.
        OSError: when the spec cannot be read.
    """
    # The exporter tells of every attempt; the outbox says once that it waits, and once that it goes on.
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
    try:
        with listen(host, port) as bound:
            app = create_app(config)
            url = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
            kind = "gateway" if config.gateway else "up"
            serve(app, bound, lambda: print(f"backspan {kind}: {url}, data in {stored}; {hint}", file=sys.stderr,
                                            flush=True))
    except PortBusy as error:
        raise Refused(f"{error}; choose another with --port") from None
    except (StoreError, SpecError) as error:
        raise Refused(str(error)) from None
    return 0
