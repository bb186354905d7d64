"""The page: a button that puts 1000 e-mails on the queue and answers at once, and how far they are.

python3 web.py [PORT], or PORT in the environment; listens on loopback only.
"""

import html
import json
import logging
import os
import signal
import sys
import time
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from string import Template

import outbox
from tasks import send_newsletter

COUNT = 1000
TYPES = {"page.css": "text/css", "page.js": "text/javascript"}
log = logging.getLogger("newsletter.web")


class Page(BaseHTTPRequestHandler):
    """One request."""

    timeout = 10  # seconds a browser may keep us waiting

    def do_GET(self) -> None:
        """Show the page, its parts, or the progress alone."""
        name = self.path.partition("?")[0].strip("/")
        if not name:
            self.answer(page().encode(), "text/html")
        elif name == "progress":
            self.answer(json.dumps(outbox.progress()).encode(), "application/json")
        elif name in TYPES:
            self.answer((outbox.RELEASE / name).read_bytes(), TYPES[name])
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_POST(self) -> None:
        """Want 1000 e-mails: two quick writes, whatever sending them takes."""
        if self.path != "/send":
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        if self.headers.get("Sec-Fetch-Site", "none") not in ("same-origin", "none"):
            self.send_error(HTTPStatus.FORBIDDEN, "another site may not press the button")
            return
        started = time.monotonic()
        numbers = outbox.add(COUNT)
        send_newsletter(numbers[0], numbers[-1])
        log.info("%d e-mails wanted, answered after %.1f ms", COUNT, 1000 * (time.monotonic() - started))
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", "/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def answer(self, body: bytes, kind: str) -> None:
        """Send a body that is never kept: the next release may have another."""
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.send_header("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *arguments: object) -> None:
        """Keep quiet: the page asks for the progress twice a second."""


def page() -> str:
    """Return the page as it is now, complete without JavaScript."""
    now = outbox.progress()
    rows = "".join(
        f"<tr><td>{worker['pid']}</td><td>{worker['sent']}</td><td>{'works' if worker['alive'] else 'gone'}</td></tr>"
        for worker in now["workers"]
    )
    refresh = '<meta http-equiv="refresh" content="1">' if now["sent"] < now["total"] else ""
    return Template((outbox.RELEASE / "page.html").read_text()).substitute(
        release=html.escape(now["release"]),
        style="even" if now["release"].isdigit() and int(now["release"]) % 2 == 0 else "odd",
        count=COUNT,
        sent=now["sent"],
        total=now["total"],
        max=now["total"] or 1,
        rows=rows,
        refresh=refresh,
        outbox=html.escape(str(outbox.DIRECTORY)),
    )


def main() -> None:
    """Serve until SIGTERM; requests in hand are answered."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    port = int(sys.argv[1] if len(sys.argv) > 1 else os.environ.get("PORT", "8000"))
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    outbox.prepare()
    with ThreadingHTTPServer(("127.0.0.1", port), Page) as server:
        log.info("release %s listens on http://127.0.0.1:%d", outbox.RELEASE.name, port)
        server.serve_forever()


if __name__ == "__main__":
    main()
