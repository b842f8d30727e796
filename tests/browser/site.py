"""Pages for the tests, served under a policy that allows nothing inline; a path leads to a gateway, as by a proxy."""

from __future__ import annotations

import http.client
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import urlsplit

MOUNT = "/tools/feedback"
STYLE = """
:root { color-scheme: light dark; background: Canvas; color: CanvasText }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 2rem auto; padding: 0 1rem }
.answer { border: 1px solid color-mix(in srgb, currentColor 20%, transparent); border-radius: 12px; padding: .8rem 1rem;
  margin-block: 1rem .5rem }
h1 { font-size: 1.3rem }
"""
PAGE = """<!doctype html>
<html lang="{lang}" dir="{dir}"><head><meta charset="utf-8"><title>Support</title>
<meta name="viewport" content="width=device-width"><link rel="stylesheet" href="/style.css">
<script type="module" src="{script}" {more} crossorigin="anonymous"></script></head>
<body><main><h1>How long are gift cards valid?</h1>{body}</main></body></html>
"""
ANSWER = ('<div class="answer" id="{id}"><p>Gift cards are valid for <em>two years</em> from the day they are bought. '
          'See <a href="#source">the terms</a>.</p><pre>print("code")</pre></div>')


def policy(gateway: str) -> str:
    """The strictest policy under which a page can have the widget of a gateway."""
    return (f"default-src 'none'; script-src {gateway} 'self'; style-src 'self'; connect-src {gateway} 'self'; "
            "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'")


class Site:
    """A server of pages on a thread. Put a page with `show`, get its address."""

    def __init__(self) -> None:
        self.pages: dict[str, tuple[str, str, dict[str, str]]] = {"/style.css": (STYLE, "text/css", {})}
        self.gateway = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    def put(self, path: str, text: str, kind: str = "text/html", **headers: str) -> str:
        """Serve ``text`` at ``path``; return its address."""
        self.pages[path] = (text, kind, {name.replace("_", "-"): value for name, value in headers.items()})
        return self.url + path

    def show(self, gateway: str, body: str, *, lang: str = "en", dir: str = "ltr", script: str = "", more: str = "",
             csp: str | None = None) -> str:
        """A page with ``body`` and the widget of ``gateway``; return its address."""
        path = f"/page{len(self.pages)}"
        html = PAGE.format(lang=lang, dir=dir, script=script or f"{gateway}/widget.js", more=more, body=body)
        return self.put(path, html, Content_Security_Policy=policy(gateway) if csp is None else csp)

    def _handler(site) -> type[BaseHTTPRequestHandler]:
        class Handler(BaseHTTPRequestHandler):
            def _any(self) -> None:
                path = urlsplit(self.path).path
                if path.startswith(MOUNT):
                    self._pass_on(self.path[len(MOUNT):])
                elif path in site.pages:
                    text, kind, headers = site.pages[path]
                    self._answer(200, {"Content-Type": f"{kind}; charset=utf-8", **headers}, text.encode())
                else:
                    self._answer(204 if path == "/favicon.ico" else 404, {}, b"")

            def _pass_on(self, path: str) -> None:
                connection = http.client.HTTPConnection(urlsplit(site.gateway).netloc, timeout=30)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                connection.request(self.command, path, body, {**dict(self.headers), "X-Forwarded-For": "10.0.0.9"})
                answer = connection.getresponse()
                headers = {name: value for name, value in answer.getheaders() if name.lower() != "content-length"}
                self._answer(answer.status, headers, answer.read())
                connection.close()

            def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
                self.send_response_only(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS"):
            setattr(Handler, f"do_{method}", Handler._any)
        return Handler


def widget(token: str, content: str = "", **attributes: str | bool) -> str:
    """The element, with an answer before it that it belongs to."""
    given = {"token": token, **{name.replace("_", "-").strip("-"): value for name, value in attributes.items()}}
    there = {name: value for name, value in given.items() if value is not False}
    said = " ".join(name if value is True else f"{name}='{value}'" for name, value in there.items())
    return f"{content}<backspan-feedback {said}></backspan-feedback>"
