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


def _off(text: str) -> bool:
    return text.strip().lower() in {"", "0", "false", "off", "no"}


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _optional(text: str) -> str | None:
    return text.strip() or None


def _pairs(text: str) -> tuple[tuple[str, str], ...]:
    said = (word.partition("=") for word in _words(text))
    return tuple((host.strip().lower(), name.strip()) for host, _, name in said if host.strip() and name.strip())


def _at_least(least: int, default: int) -> Callable[[str], int]:
    return lambda text: max(int(text), least) if text.strip().isdigit() else default


def _number(default: int) -> Callable[[str], int]:
    return lambda text: int(text) if text.strip().isdigit() else default


def _word(text: str, known: tuple[str, ...]) -> str | None:
    word = text.strip().lower()
    return word if word in known else None


def _has(word: str) -> Callable[[str], bool]:
    return lambda text: text.strip().lower() == word


QUEUE_BYTES = 32 << 20


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
    Setting("BACKSPAN_FIELD_KEYS", "field_keys", _words, (),
            "Comma-separated keys (`backspan store key` makes one) that seal questions, documents, answers, comments "
            "and corrections in a server's database: the first seals, all open. Unset: they are stored as they are."),
    Setting("BACKSPAN_TOKEN", "token", lambda text: _word(text, _boot.ON_ANSWERS), None,
            "Puts a feedback token on every answer of FastAPI, Starlette, Flask and Django that a model had a part in: "
            "`header` as `Backspan-Token`; `sse` as the last event, `backspan-token`, where the answer is an event "
            "stream, else as the header. Off by default."),
    Setting("BACKSPAN_DATA_DIR", "data_dir", lambda text: Path(text).expanduser(), None,
            "Folder for the token key and the embedded store. Default: `$XDG_DATA_HOME/backspan`, else "
            "`~/.local/share/backspan`."),
    Setting("BACKSPAN_TAXONOMY", "taxonomy", lambda text: Path(text).expanduser(), None,
            "File that declares the names, scales and reasons of feedback (`backspan feedback taxonomy` prints the "
            "default). Give applications and gateway the same one."),
    Setting("BACKSPAN_PROPAGATE_HOSTS", "propagate_hosts", _words, (),
            "Hosts (`api.example.com`, `*.internal`) to which the HTTP client instrumentation may send `traceparent` "
            "and `baggage`. None by default."),
    Setting("BACKSPAN_PROVIDERS", "providers", _pairs, (),
            "Comma-separated `host=provider` pairs that say who answers at a host, before the built-in table: "
            "`llm.example.com=openai,*.gpu.internal=vllm`, or `127.0.0.1:8000=vllm` for one port."),
    Setting("BACKSPAN_STREAM_USAGE_HOSTS", "stream_usage_hosts", _words, (),
            "Hosts (`api.openai.com`, `*.internal`) whose chat streams are asked for their usage "
            "(`stream_options.include_usage`) when the application has not said; the chunk that comes of it is kept "
            "from the application. None by default: requests are never changed."),
    Setting("BACKSPAN_REDACT_IDS", "redact_ids", _words, (),
            "Comma-separated words for the national ids that are masked: `checked` (the default: of every country "
            "those with check digits), a country's two letters (all of its ids: `us` adds the SSN), `-` before a "
            "country (none of its ids), `all`, `none`."),
    Setting("BACKSPAN_REDACT_PRESIDIO", "redact_presidio", lambda text: "" if _off(text) else text.strip(), "",
            "`1` adds Presidio's patterns (extra `pii`); the name of an installed spaCy model (`en_core_web_lg`), or "
            "its folder, adds names and places too. Nothing is downloaded. Off by default."),
    Setting("BACKSPAN_CONTENT_PART", "content_part", _at_least(16, 32_768), 32_768,
            "Most characters of one text in a message, a tool call or a document. Default 32768, least 16."),
    Setting("BACKSPAN_CONTENT_LIST", "content_list", _at_least(2, 65_536), 65_536,
            "Most characters of one content attribute, such as all input messages. Default 65536. Never more than "
            "OpenTelemetry's own limit for attributes."),
    Setting("BACKSPAN_CONTENT_SPAN", "content_span", _at_least(8, 131_072), 131_072,
            "Most characters of all content on one span, of which a quarter is kept free for the answer. Default "
            "131072."),
    Setting("BACKSPAN_QUEUE_BYTES", "queue_bytes", _number(QUEUE_BYTES), QUEUE_BYTES,
            "Most memory, in bytes, for spans on their way out, where the provider is ours. Default 33554432 (32 MiB). "
            "Past it the oldest content goes first, then the oldest spans, judgements last."),
    Setting("BACKSPAN_GUARDS", "guards", _words, (),
            "Comma-separated limits of a gateway's rules against spam, over the defaults `fast=3`, `burst=20`, "
            "`one_sided=20`, `comment=3` and `influence=100`; `off` takes one away, `off` alone all of them."),
    Setting("BACKSPAN_SIGNALS", "signals_file", _optional, None,
            "YAML file that changes thresholds, priors and cues of the implicit signals. Unset: the catalogue as it "
            "is."),
    Setting("BACKSPAN_OUTCOME_HOOKS", "outcome_hooks", _optional, None,
            "YAML file that tells a gateway which fields of a webhook say an outcome. Unset: no webhooks."),
    Setting("BACKSPAN_AUDIENCE", "audience", _optional, None,
            "Name of a gateway. Tokens made where it is set are opened only where the same name is set."),
    Setting("BACKSPAN_ORIGINS", "origins", _words, (),
            "Comma-separated origins (`https://app.example.com`) whose pages a gateway answers. None by default: only "
            "pages that the gateway's own host serves."),
    Setting("BACKSPAN_PROXIES", "proxies", _words, (),
            "Comma-separated addresses and networks (`10.0.0.0/8`) of proxies whose `X-Forwarded-For` a gateway "
            "believes. None by default."),
    Setting("BACKSPAN_LIMITS", "limits", _words, (),
            "Comma-separated limits of a gateway, over the defaults `token=60/hour`, `subject=600/hour`, "
            "`address=600/minute` and `all=10000/second`; `off` takes one away."),
    Setting("BACKSPAN_LIMITS_STORAGE", "limits_storage", _optional, None,
            "Where gateways count together, as a storage URL of the library `limits`: `async+redis://host:6379` (takes "
            "`pip install redis`) or `async+valkey://host:6379` (`valkey`). Unset: each process counts by itself."),
    Setting("BACKSPAN_KEEP", "keep", _flag, False,
            "`1` holds traces that the sampler leaves out in memory, and sends them when their answer is judged bad. "
            "Where the provider is ours. Off by default."),
    Setting("BACKSPAN_KEEP_BYTES", "keep_bytes", _number(QUEUE_BYTES), QUEUE_BYTES,
            "Most memory, in bytes, for traces held by `BACKSPAN_KEEP`; the oldest go first. Default 33554432 "
            "(32 MiB)."),
    Setting("BACKSPAN_KEEP_SECONDS", "keep_seconds", _number(7200), 7200,
            "How long a trace is held by `BACKSPAN_KEEP`, in seconds. Default 7200 (2 hours)."),
    Setting("BACKSPAN_LABEL_VALUES", "label_values", _at_least(1, 200), 200,
            "Values that one label of the counters keeps apart, in an application and in a gateway; what comes after "
            "is counted as `__overflow__`. Spans keep the true value. Default 200."),
    Setting("BACKSPAN_SIGTERM", "sigterm", lambda text: text.strip().lower() not in {"0", "off", "false"}, True,
            "`off`: a process that SIGTERM kills is killed at once, without sending what is queued."),
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
    field_keys: tuple[str, ...]
    token: str | None
    data_dir: Path
    taxonomy: Path | None
    guards: tuple[str, ...]
    propagate_hosts: tuple[str, ...]
    providers: tuple[tuple[str, str], ...]
    stream_usage_hosts: tuple[str, ...]
    redact_ids: tuple[str, ...]
    redact_presidio: str
    content_part: int
    content_list: int
    content_span: int
    queue_bytes: int
    signals_file: str | None
    outcome_hooks: str | None
    audience: str | None
    origins: tuple[str, ...]
    proxies: tuple[str, ...]
    limits: tuple[str, ...]
    limits_storage: str | None
    keep: bool
    keep_bytes: int
    keep_seconds: int
    label_values: int
    sigterm: bool
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
