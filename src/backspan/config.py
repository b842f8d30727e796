"""One table of settings, read once into a frozen `Settings`.

The table is the only place where a variable of ours is named; the reference page is generated from it. Everything that
OpenTelemetry already names (endpoint, protocol, service name, sampler, ...) is read by its SDK from ``OTEL_*``.
"""

from __future__ import annotations

import base64
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from backspan import _boot


@dataclass(frozen=True)
class Setting:
    """One row of the table: the variable, the field it fills, how it is read, and what it means."""

    variable: str
    field: str
    read: Callable[[str], Any]
    default: Any
    doc: str


def _flag(text: str) -> bool:
    return text.strip().lower() in {"1", "true", "on"}


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _optional(text: str) -> str | None:
    return text.strip() or None


def _has(word: str) -> Callable[[str], bool]:
    return lambda text: text.strip().lower() == word


SETTINGS: tuple[Setting, ...] = (
    Setting("BACKSPAN", "enabled", lambda text: text.strip().lower() in _boot.ON, False,
            "Switches instrumentation on: `1`, `true` or `on`; `content` also records redacted prompts, documents and "
            "answers. Anything else is off."),
    Setting("BACKSPAN_INSTRUMENT", "instrument", _words, (),
            "Comma-separated libraries to add (`httpx`, or the name of any installed `opentelemetry_instrumentor`) or, "
            "with a leading `-`, to leave out (`-qdrant_client`)."),
    Setting("BACKSPAN_SEMCONV", "semconv_both", _has("both"), False,
            "`both` emits the older GenAI metric names beside the newest ones."),
    Setting("BACKSPAN_METRICS", "metrics_all", _has("all"), False,
            "`all` adds the metrics that are off by default."),
    Setting("BACKSPAN_GATEWAY_URL", "gateway_url", _optional, None,
            "Base URL of a gateway. When set, `record_feedback` posts there and emits nothing itself."),
    Setting("BACKSPAN_API_KEY", "api_key", _optional, None,
            "Key that a server-side caller sends to the gateway, and that the gateway accepts."),
    Setting("BACKSPAN_TOKEN_KEYS", "token_keys", _words, (),
            "Comma-separated Fernet keys for feedback tokens: the first seals, all open. Unset: a key is made once in "
            "`BACKSPAN_DATA_DIR/token.key`."),
    Setting("BACKSPAN_DATA_DIR", "data_dir", lambda text: Path(text).expanduser(), None,
            "Folder for the token key and the embedded store. Default: `$XDG_DATA_HOME/backspan`, else "
            "`~/.local/share/backspan`."),
    Setting("BACKSPAN_PROPAGATE_HOSTS", "propagate_hosts", _words, (),
            "Hosts (`api.example.com`, `*.internal`) to which the HTTP client instrumentation may send `traceparent` "
            "and `baggage`. None by default."),
    Setting("BACKSPAN_RAISE", "raise_faults", _flag, False,
            "`1` raises our own faults instead of logging them. For tests of backspan only."),
    Setting("OTEL_SDK_DISABLED", "sdk_disabled", lambda text: text.strip().lower() == "true", False,
            "`true` switches backspan off as well."),
    Setting("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", "capture_content", _optional, None,
            "OpenTelemetry's own switch for content. Honoured, and wins over `BACKSPAN=content`: `SPAN_ONLY`, "
            "`SPAN_AND_EVENT` and `true` record content, `NO_CONTENT`, `EVENT_ONLY` and `false` do not."),
)


@dataclass(frozen=True)
class Settings:
    """What the environment said, once; see `SETTINGS` for the meaning of each field."""

    enabled: bool
    instrument: tuple[str, ...]
    semconv_both: bool
    metrics_all: bool
    gateway_url: str | None
    api_key: str | None
    token_keys: tuple[str, ...]
    data_dir: Path
    propagate_hosts: tuple[str, ...]
    raise_faults: bool
    sdk_disabled: bool
    capture_content: str | None
    content: bool

    def instruments(self, name: str, *, default: bool = True) -> bool:
        """Tell whether the library ``name`` is to be instrumented, given whether it is so by ``default``."""
        if f"-{name}" in self.instrument:
            return False
        return default or name in self.instrument


_CONTENT_WORDS = {"span_only": True, "span_and_event": True, "true": True,
                  "no_content": False, "event_only": False, "false": False}


def _content(environ: Mapping[str, str], standard: str | None) -> bool:
    if standard is not None and standard.lower() in _CONTENT_WORDS:
        return _CONTENT_WORDS[standard.lower()]
    return environ.get("BACKSPAN", "").strip().lower() == "content"


def _default_data_dir(environ: Mapping[str, str]) -> Path:
    base = environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "backspan"


def read(environ: Mapping[str, str]) -> Settings:
    """Read ``environ`` by the table. Unknown words mean the default: a typo never stops an application."""
    values = {
        row.field: row.read(environ[row.variable]) if environ.get(row.variable) else row.default for row in SETTINGS
    }
    values["data_dir"] = values["data_dir"] or _default_data_dir(environ)
    values["enabled"] = values["enabled"] and not values["sdk_disabled"]
    return Settings(**values, content=_content(environ, values["capture_content"]))


_settings: Settings | None = None


def settings() -> Settings:
    """The settings of this process, read from the environment at the first call."""
    global _settings
    if _settings is None:
        _settings = read(os.environ)
    return _settings


def reload() -> Settings:
    """Read the environment again, for tests and for `backspan.auto`."""
    global _settings
    _settings = None
    return settings()


def token_keys() -> tuple[str, ...]:
    """Keys for feedback tokens and pseudonyms: ``BACKSPAN_TOKEN_KEYS``, else the key file of the data folder.

    The file ``token.key`` is made once, with mode 0600; of several processes that start together one makes it.
    Each key is 32 random bytes in URL-safe base64 (a Fernet key). Empty if the folder cannot be written.
    """
    current = settings()
    if current.token_keys:
        return current.token_keys
    path = current.data_dir / "token.key"
    try:
        return (_read_key(path) or _make_key(path),)
    except OSError:
        return ()


def _read_key(path: Path) -> str | None:
    return path.read_text("ascii").strip() if path.exists() else None


def _make_key(path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f"{path.name}.{os.getpid()}.{os.urandom(4).hex()}")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        file.write(base64.urlsafe_b64encode(os.urandom(32)).decode())
    try:
        os.link(draft, path)  # atomic, and fails if another process was first
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return path.read_text("ascii").strip()


def asset(name: str) -> Path:
    """Folder or file that ships with backspan: from the checkout if there is one, else from the wheel.

    Raises:
        FileNotFoundError: if neither has it.
    """
    here = Path(__file__).resolve()
    for base in (here.parents[2], here.parent / "assets"):
        if (base / "pyproject.toml").is_file() or base.name == "assets":
            if (base / name).exists():
                return base / name
    raise FileNotFoundError(f"backspan ships no {name!r}")
