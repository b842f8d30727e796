"""The gate: decides, in microseconds, whether this interpreter is to be instrumented.

`run` is called by ``backspan.pth`` (Python up to 3.19) and ``backspan.start`` (3.15 and later), so it runs in every
interpreter of the environment, and twice in a virtual one, whose site-packages is read twice. Nothing but the standard
library that is already loaded may be imported here: ``import typing`` alone would cost ten times the whole boot.
"""

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

ON = ("1", "true", "on", "content")
"""What ``BACKSPAN`` may say, in any case, to switch us on. Anything else is off."""

OURS = ("openai", "qdrant_client", "httpx", "httpx2")
"""The packages that ``backspan.instrument`` knows."""

OPT_IN = {"httpx": ("httpx", "httpx2")}
"""Of these, what is patched only if ``BACKSPAN_INSTRUMENT`` names it -> the packages that the name stands for."""

PATCH = "backspan.instrument:imported"
"""Patches one of `OURS`."""

FOREIGN = "backspan._instrumentor:switch_on"
"""Switches on the installed ``opentelemetry_instrumentor`` entry points that patch the module just imported."""

ANSWERING = ("starlette.applications", "flask.app", "django.core.handlers.wsgi", "django.core.handlers.asgi")
"""The modules of web frameworks that are patched if ``BACKSPAN_TOKEN`` says so; FastAPI is made of Starlette."""

ON_ANSWERS = ("header", "sse")
"""What ``BACKSPAN_TOKEN`` may say, in any case, to have a token on every answer. Anything else is off."""

ANSWER = "backspan.feedback.frameworks:imported"
"""Patches one of `ANSWERING`."""

_ELSEWHERE = {
    "aiohttp-client": "aiohttp",
    "aiohttp-server": "aiohttp",
    "bedrock": "botocore",
    "google_generativeai": "google.generativeai",
    "grpc_aio_client": "grpc",
    "grpc_aio_server": "grpc",
    "grpc_client": "grpc",
    "grpc_server": "grpc",
    "langchain": "langchain_core",
    "llamaindex": "llama_index",
    "milvus": "pymilvus",
    "mysql": "mysql.connector",
    "mysqlclient": "MySQLdb",
    "tortoiseorm": "tortoise",
    "urllib": "urllib.request",
    "weaviate_client": "weaviate",
}
"""Entry points whose name is not that of the module they patch."""

_running = False


def is_on(environ: "Mapping[str, str]") -> bool:
    """Tell whether ``environ`` switches us on: ``BACKSPAN`` says so and ``OTEL_SDK_DISABLED`` does not forbid it."""
    if environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return environ.get("BACKSPAN", "").strip().lower() in ON


def foreign_module(name: str) -> str:
    """The module that the ``opentelemetry_instrumentor`` entry point ``name`` patches."""
    return _ELSEWHERE.get(name, name.replace("-", "_"))


def words(environ: "Mapping[str, str]") -> list[str]:
    """The names in ``BACKSPAN_INSTRUMENT``, in order, without blanks."""
    return [word.strip() for word in environ.get("BACKSPAN_INSTRUMENT", "").split(",") if word.strip()]


def targets(environ: "Mapping[str, str]") -> dict[str, str]:
    """Module -> import string of what patches it: the defaults plus and minus what ``BACKSPAN_INSTRUMENT`` names."""
    opt_in = {package for packages in OPT_IN.values() for package in packages}
    chosen = {package: PATCH for package in OURS if package not in opt_in}
    for word in words(environ):
        if word.startswith("-"):
            chosen.pop(word[1:], None)
        elif word in OPT_IN:
            chosen.update(dict.fromkeys(OPT_IN[word], PATCH))
        elif word not in OURS:
            chosen.setdefault(foreign_module(word), FOREIGN)
    if environ.get("BACKSPAN_TOKEN", "").strip().lower() in ON_ANSWERS:
        chosen.update(dict.fromkeys(ANSWERING, ANSWER))
    return chosen


def run() -> None:
    """Set up the import hook if the environment says so. Calling it again does nothing."""
    global _running
    if _running or not is_on(os.environ):
        return
    _running = True
    from backspan import _hook  # only now: an interpreter that is off does not pay for it

    _hook.install(targets(os.environ))


def is_running() -> bool:
    """Tell whether `run` has set up the hook in this process."""
    return _running


def start() -> bool:
    """Open the gate from code: as if ``BACKSPAN=1`` were set, unless the variable says otherwise.

    Child processes inherit the variable. Returns whether instrumentation is on.
    """
    os.environ.setdefault("BACKSPAN", "1")
    run()
    return _running


def stop() -> None:
    """Take the hook out again; what has been patched stays so until ``backspan.instrument.uninstrument()``."""
    global _running
    from backspan import _hook

    _running = False
    _hook.uninstall()
