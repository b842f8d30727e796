"""``backspan doctor``: look at everything between a call and its span, and say what to do where something is wrong."""

from __future__ import annotations

import argparse
import os
import platform
import site
import socket
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from backspan import _boot
from backspan.cli import print_json
from backspan.config import read

NAME = "doctor"
HELP = "Check doors, versions, settings and the endpoint; each line says ok, warn or fail, and how to mend it."
_LIBRARIES = {"openai": ("1.26", "4"), "qdrant-client": ("1.12", None), "httpx": ("0.23", None), "httpx2": (None, None)}
"""Distribution -> (first version we know, first we do not)."""
_OTEL = ("opentelemetry-sdk", "opentelemetry-exporter-otlp", "opentelemetry-instrumentation-httpx", "wrapt")
_WAIT = 1.0
"""Seconds to wait for a connection to the endpoint."""


@dataclass(frozen=True)
class Check:
    """One thing looked at, how it is, and what to do if it is not well."""

    name: str
    status: Literal["ok", "warn", "fail"]
    detail: str
    fix: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``doctor``."""
    parser.add_argument("--json", action="store_true", help="print a list of objects")
    parser.add_argument("--send", action="store_true", help="also send one test span to the endpoint")


def checks(environ: Mapping[str, str], send: bool = False) -> Iterator[Check]:
    """Look at this Python environment and at ``environ``, one thing after the other."""
    yield Check("python", "ok", f"{platform.python_version()} at {sys.executable}")
    yield Check("backspan", "ok", f"{version('backspan')} at {Path(__file__).resolve().parents[1]}")
    yield from _switch(environ)
    yield _pth_file()
    yield _pth_works(environ)
    yield _entry_point()
    yield from (Check(name, "ok", version(name)) for name in _OTEL)
    yield from (_library(name, *bounds) for name, bounds in _LIBRARIES.items())
    yield from _foreign()
    yield from _endpoint(environ)
    yield _gateway(environ)
    yield from _tokens(environ)
    yield _data_dir(environ)
    if send:
        yield _test_span()


def _switch(environ: Mapping[str, str]) -> Iterator[Check]:
    if _boot.is_on(environ):
        content = "with content" if read(environ).content else "without content"
        yield Check("switch", "ok", f"BACKSPAN={environ.get('BACKSPAN')}: on, {content}")
    elif environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        yield Check("switch", "warn", "OTEL_SDK_DISABLED=true switches everything off", "unset OTEL_SDK_DISABLED")
    else:
        said = environ.get("BACKSPAN")
        shown = "BACKSPAN is not set" if said is None else f"BACKSPAN={said} means off"
        yield Check("switch", "warn", shown, "set BACKSPAN=1 where the application starts")
    if environ.get("OTEL_CONFIG_FILE"):
        yield Check("otel config file", "warn", "OTEL_CONFIG_FILE is set: the SDK ignores the other OTEL_* variables")


def _site_folders() -> list[Path]:
    given = [*site.getsitepackages(), sysconfig.get_path("purelib")]
    if site.ENABLE_USER_SITE:
        given.append(site.getusersitepackages())
    return [Path(folder) for folder in dict.fromkeys(given)]


def _pth_file() -> Check:
    found = [folder for folder in _site_folders() if (folder / "backspan.pth").is_file()]
    if not found:
        fix = "reinstall into a site directory, or start programs by `backspan run -- CMD`"
        return Check("door: .pth file", "warn", "backspan.pth is in no site directory of this Python", fix)
    start = "with" if (found[0] / "backspan.start").is_file() else "without"
    return Check("door: .pth file", "ok", f"{found[0] / 'backspan.pth'}, {start} backspan.start")


def _pth_works(environ: Mapping[str, str]) -> Check:
    code = "import sys; m = sys.modules.get('backspan._boot'); print(bool(m and m.is_running()))"
    clean = {name: value for name, value in environ.items() if name != "OTEL_SDK_DISABLED"}
    done = subprocess.run(
        [sys.executable, "-c", code], env={**clean, "BACKSPAN": "1"}, capture_output=True, text=True, timeout=30
    )
    if done.stdout.strip() == "True":
        return Check("door: the variable", "ok", "BACKSPAN=1 opens it in a new interpreter")
    fix = "use `backspan run -- CMD`, `opentelemetry-instrument CMD` or `import backspan.auto`"
    return Check("door: the variable", "fail", "BACKSPAN=1 alone does not open it in a new interpreter", fix)


def _entry_point() -> Check:
    from importlib.metadata import entry_points

    if any(entry.name == "backspan" for entry in entry_points(group="opentelemetry_instrumentor")):
        return Check("door: opentelemetry-instrument", "ok", "entry point is installed")
    return Check("door: opentelemetry-instrument", "fail", "entry point is missing", "reinstall backspan")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:3] if part.isdigit())


def _library(name: str, first: str | None, beyond: str | None) -> Check:
    try:
        found = version(name)
    except PackageNotFoundError:
        return Check(name, "ok", "not installed")
    too_old = first is not None and _numbers(found) < _numbers(first)
    too_new = beyond is not None and _numbers(found) >= _numbers(beyond)
    if too_old or too_new:
        wanted = f"{name}{f'>={first}' if first else ''}{f',<{beyond}' if beyond else ''}"
        return Check(name, "warn", f"{found} is outside what was tested", f"pip install '{wanted}'")
    return Check(name, "ok", found)


def _foreign() -> Iterator[Check]:
    from backspan._instrumentor import foreign

    for name, entry in foreign().items():
        if entry is None:
            fix = f"install the package that instruments {name}, or take it out of BACKSPAN_INSTRUMENT"
            yield Check(f"instrument {name}", "fail", "no installed opentelemetry_instrumentor has that name", fix)
        else:
            yield Check(f"instrument {name}", "ok", f"{entry.value}, when {_boot.foreign_module(name)} is imported")


def endpoint(environ: Mapping[str, str]) -> tuple[str, str]:
    """The protocol and the URL to which spans go, by OpenTelemetry's rules for ``OTEL_EXPORTER_OTLP_*``."""
    protocol = environ.get("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") or environ.get("OTEL_EXPORTER_OTLP_PROTOCOL")
    protocol = protocol or "http/protobuf"
    default = "http://localhost:4317" if protocol == "grpc" else "http://localhost:4318"
    given = environ.get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") or environ.get("OTEL_EXPORTER_OTLP_ENDPOINT")
    return protocol, given or default


def _endpoint(environ: Mapping[str, str]) -> Iterator[Check]:
    if environ.get("OTEL_TRACES_EXPORTER", "otlp") not in ("otlp", ""):
        yield Check("exporter", "ok", f"OTEL_TRACES_EXPORTER={environ['OTEL_TRACES_EXPORTER']}")
        return
    protocol, url = endpoint(environ)
    if protocol not in ("http/protobuf", "grpc"):
        yield Check("exporter", "fail", f"unknown protocol {protocol!r}", "use http/protobuf or grpc")
        return
    yield _reach("endpoint", f"{url} ({protocol})", url, "`backspan up` listens on 4318, `backspan stack up` on both")


def _gateway(environ: Mapping[str, str]) -> Check:
    url = read(environ).gateway_url
    if url is None:
        return Check("gateway", "ok", "none: feedback is sent as telemetry by the application itself")
    return _reach("gateway", url, url, "start it by `backspan gateway`, or mend BACKSPAN_GATEWAY_URL")


def _tokens(environ: Mapping[str, str]) -> Iterator[Check]:
    from backspan.feedback import token

    said = environ.get("BACKSPAN_TOKEN", "").strip()
    if said.lower() in ("", "off", *_boot.ON_ANSWERS):
        yield Check("tokens on answers", "ok", said.lower() or "off")
    else:
        yield Check("tokens on answers", "warn", "BACKSPAN_TOKEN has a value that means off",
                    f"set it to {' or '.join(_boot.ON_ANSWERS)}, or leave it out")
    try:
        token.check_keys(read(environ).token_keys)
    except ImportError:
        yield Check("token keys", "warn", "cannot be used without the package cryptography",
                    "pip install 'backspan[server]'")
    except ValueError as error:
        yield Check("token keys", "fail", "BACKSPAN_TOKEN_KEYS cannot be used", str(error))


def _reach(name: str, shown: str, url: str, fix: str) -> Check:
    parts = urlsplit(url if "//" in url else f"//{url}")
    try:
        address = (parts.hostname or "localhost", parts.port or (443 if parts.scheme == "https" else 80))
        socket.create_connection(address, _WAIT).close()
    except (OSError, ValueError) as error:
        return Check(name, "fail", f"{shown}: {error}", fix)
    return Check(name, "ok", f"{shown} accepts connections")


def _data_dir(environ: Mapping[str, str]) -> Check:
    folder = read(environ).data_dir
    near = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if near.is_dir() and os.access(near, os.W_OK):
        return Check("data folder", "ok", f"{folder}")
    return Check("data folder", "warn", f"{folder} cannot be written", "set BACKSPAN_DATA_DIR or BACKSPAN_TOKEN_KEYS")


def _test_span() -> Check:
    from backspan import telemetry

    with telemetry.get_tracer().start_as_current_span("backspan doctor") as span:
        trace_id = f"{span.get_span_context().trace_id:032x}"
    if telemetry.flush():
        return Check("test span", "ok", f"accepted; trace {trace_id}")
    return Check("test span", "fail", "not accepted by the endpoint", "look at the endpoint's own log")


def run(args: argparse.Namespace) -> int:
    """Print the checks; return 1 if one failed."""
    found = list(checks(os.environ, args.send))
    if args.json:
        print_json([asdict(check) for check in found])
    else:
        width = max(len(check.name) for check in found)
        for check in found:
            print(f"{check.status:<4}  {check.name:<{width}}  {check.detail}")
            if check.status != "ok" and check.fix:
                print(f"      {'':<{width}}  -> {check.fix}")
    return int(any(check.status == "fail" for check in found))
