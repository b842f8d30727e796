"""What ``up`` and ``gateway`` share: open the store, take the port, say one line, serve."""

from __future__ import annotations

import logging
import sys

from backspan.cli._refused import Refused
from backspan.config import settings, token_keys
from backspan.feedback import token
from backspan.feedback.signals import CatalogueError
from backspan.feedback.taxonomy_file import TaxonomyError
from backspan.rules.spec import SpecError
from backspan.server.app import create_app
from backspan.server.config import ServerConfig
from backspan.server.hooks import HooksError
from backspan.server.keys import ADMIN, OTLP
from backspan.server.limits import InvalidRates
from backspan.server.run import PortBusy, listen, serve
from backspan.server.trust import loopback
from backspan.store import Store, StoreError, keys


def check_exposure(host: str) -> None:
    """Raises `Refused` for an address that others can reach, where nobody could prove anything to the server."""
    if not loopback(host) and not settings().token_keys and not settings().api_key:
        raise Refused(f"will not listen on {host}, where others can reach it, with neither BACKSPAN_TOKEN_KEYS nor "
                      "BACKSPAN_API_KEY set: without them nobody could judge an answer but this machine")


def _check_keys() -> None:
    try:
        token.check_keys(token_keys())
    except ValueError as error:
        where = "BACKSPAN_TOKEN_KEYS" if settings().token_keys else settings().data_dir / "token.key"
        raise Refused(f"{where}: {error}") from None


def serve_forever(config: ServerConfig, host: str, port: int, stored: str, hint: str) -> int:
    """Serve until told to stop; 0 then.

    Raises:
        Refused: when the port, the database, the keys, the spec or the taxonomy cannot be used.
        OSError: when the spec or the taxonomy cannot be read.
    """
    _check_keys()
    # The exporter tells of every attempt; the outbox says once that it waits, and once that it goes on.
    logging.getLogger("opentelemetry.exporter.otlp").setLevel(logging.CRITICAL)
    try:
        with listen(host, port) as bound:
            app = create_app(config)
            url = f"http://{f'[{host}]' if ':' in host else host}:{bound.getsockname()[1]}"
            kind = "gateway" if config.gateway else "up"
            said = [f"backspan {kind}: {url}, data in {stored}; {hint}", *_warnings(app.state.store, config, host)]
            serve(app, bound, lambda: print(*said, sep="\n", file=sys.stderr, flush=True))
    except PortBusy as error:
        raise Refused(f"{error}; choose another with --port") from None
    except CatalogueError as error:
        raise Refused(f"BACKSPAN_SIGNALS: {error}") from None
    except HooksError as error:
        raise Refused(f"BACKSPAN_OUTCOME_HOOKS: {error}") from None
    except TaxonomyError as error:
        raise Refused(f"BACKSPAN_TAXONOMY: {error}") from None
    except (StoreError, SpecError, InvalidRates) as error:
        raise Refused(str(error)) from None
    return 0


def _warnings(store: Store, config: ServerConfig, host: str) -> list[str]:
    if loopback(host) or config.api_key:
        return []
    with store.reading() as conn:
        if any(key.revoked is None and key.scopes & {OTLP, ADMIN} for key in keys.all_of(conn)):
            return []
    return [f"backspan: OTLP from other machines is refused: BACKSPAN_API_KEY is not set, no key has the scope {OTLP} "
            "(`backspan gateway keys add`)"]
