"""What ``up`` and ``gateway`` are told about who may come, and how often; and where their database is."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from backspan.config import settings


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the front door."""
    add_origin(parser)
    parser.add_argument("--audience", metavar="NAME", help="this server's name: only tokens made for it are opened "
                        "(default: BACKSPAN_AUDIENCE)")
    parser.add_argument("--proxy", action="append", metavar="NETWORK", help="address or network whose X-Forwarded-For "
                        "is believed; may be repeated (default: BACKSPAN_PROXIES)")
    parser.add_argument("--limit", action="append", metavar="NAME=RATE", help="token, subject, address or all = "
                        "60/hour, 600/minute, off, ...; may be repeated (default: BACKSPAN_LIMITS)")


def add_origin(parser: argparse.ArgumentParser) -> None:
    """The option that says whose pages may call."""
    parser.add_argument("--origin", action="append", metavar="ORIGIN", help="origin whose pages are answered, such as "
                        "https://app.example.com; may be repeated (default: BACKSPAN_ORIGINS)")


def add_database(parser: argparse.ArgumentParser, name: str, *, default: Any = None) -> None:
    """The option that says where the database is."""
    parser.add_argument("--db", "--database", default=default, metavar="WHERE", help="SQLite file, or "
                        f"postgresql://user@host/database (default: {name} in BACKSPAN_DATA_DIR)")


def database(said: str | None, name: str) -> tuple[str, str]:
    """SQLAlchemy URL of the database, and how it may be shown.

    Raises:
        backspan.store.StoreError: if it is neither a file nor PostgreSQL.
    """
    from backspan.store import postgres_url, sqlite_url
    from backspan.store.engines import shown

    if said is not None and "://" in said:
        url = postgres_url(said)
        return url, shown(url)
    path = settings().data_dir / name if said is None else Path(said)
    return sqlite_url(path), str(path)


def existing(said: str) -> str:
    """SQLAlchemy URL of a database that was made before.

    Raises:
        backspan.store.StoreError: as `database`, and if there is no such file.
    """
    from backspan.store import StoreError

    if "://" not in said and not Path(said).is_file():
        raise StoreError(f"--db: there is no file {said}")
    return database(said, "")[0]


def front(args: argparse.Namespace) -> dict[str, Any]:
    """Fields of `backspan.server.config.ServerConfig`, from the options and, where there are none, the environment.

    Raises:
        backspan.cli._refused.Refused: for an option that means nothing.
    """
    rates = tuple((kind.strip(), rate.strip()) for kind, _, rate in
                  (said.partition("=") for said in args.limit or settings().limits))
    return {"origins": origins(args), "audience": args.audience or settings().audience,
            "proxies": tuple(args.proxy or settings().proxies), "rates": rates,
            "rates_at": settings().limits_storage, "api_key": settings().api_key}


def origins(args: argparse.Namespace) -> tuple[str, ...]:
    """Whose pages are answered: as the option says, else as the environment does.

    Raises:
        backspan.cli._refused.Refused: for what is no origin.
    """
    from backspan.cli._refused import Refused
    from backspan.server.door import valid_origin

    found = tuple(args.origin or settings().origins)
    wrong = next((origin for origin in found if not valid_origin(origin)), None)
    if wrong is not None:
        raise Refused(f"{wrong!r} is no origin: one is a scheme and a host, such as https://app.example.com, with no "
                      "path and no *")
    return found
