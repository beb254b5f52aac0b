"""A web server on a real socket that misbehaves as told."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Page:
    """One address of the server and how it behaves."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    etag: str = ""
    last_modified: str = ""
    drop_after_bytes: list[int] = field(default_factory=list)
    """For each of the next requests: how many body bytes come before the connection breaks."""
    content_length: int | None = None
    ranges: bool = True
    statuses: list[int] = field(default_factory=list)
    """Statuses of the next requests, before `status` counts."""
    drip_seconds: float = 0.0
    """Body, or with `drip_head` the headers too, byte by byte with this pause."""
    drip_head: bool = False
    raw: bytes = b""
    """When set, all that is sent."""
    before: Callable[["Page"], None] = lambda page: None


class Web:
    """The pages of a running server and the requests that came."""

    def __init__(self, server: ThreadingHTTPServer) -> None:
        self.port = server.server_port
        self.netloc = f"127.0.0.1:{self.port}"
        self.pages: dict[str, Page] = {}
        self.requests: list[tuple[str, dict[str, str]]] = []

    def url(self, path: str, host: str = "127.0.0.1") -> str:
        return f"http://{host}:{self.port}{path}"

    def add(self, path: str, body: bytes = b"", **behaviour: Any) -> str:
        """Serve a page and return its address."""
        self.pages[path] = Page(body, **behaviour)
        return self.url(path)


@contextmanager
def web_server() -> Iterator[Web]:
    """Run a server for the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            web.requests.append((self.path, {k.lower(): v for k, v in self.headers.items()}))
            page = web.pages.get(self.path)
            if page is None:
                self.send_error(404)
                return
            page.before(page)
            _answer(self, page)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    web = Web(server)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=10)


def _answer(handler: BaseHTTPRequestHandler, page: Page) -> None:
    status = page.statuses.pop(0) if page.statuses else page.status
    start = _range_start(handler, page) if status == 200 else 0
    if status == 200 and page.etag and handler.headers.get("If-None-Match") == page.etag:
        status = 304
    headers = dict(page.headers)
    if page.etag:
        headers["ETag"] = page.etag
    if page.last_modified:
        headers["Last-Modified"] = page.last_modified
    body = b"" if status == 304 else page.body[start:]
    if start:
        status = 206
        headers["Content-Range"] = f"bytes {start}-{len(page.body) - 1}/{len(page.body)}"
    if "Transfer-Encoding" not in headers:
        length = len(body) if page.content_length is None else page.content_length
        headers["Content-Length"] = str(length)
    head = [f"HTTP/1.1 {status} X", *(f"{k}: {v}" for k, v in headers.items()), "Connection: close"]
    _send(handler, page, ("\r\n".join(head) + "\r\n\r\n").encode(), body)
    handler.close_connection = True


def _send(handler: BaseHTTPRequestHandler, page: Page, head: bytes, body: bytes) -> None:
    if page.raw:
        head, body = page.raw, b""
    if page.drop_after_bytes:
        body = body[: page.drop_after_bytes.pop(0)]
    try:
        if not page.drip_seconds:
            handler.wfile.write(head + body)
            return
        if not page.drip_head:
            handler.wfile.write(head)
            head = b""
        for byte in head + body:
            handler.wfile.write(bytes([byte]))
            time.sleep(page.drip_seconds)
    except OSError:
        return


def _range_start(handler: BaseHTTPRequestHandler, page: Page) -> int:
    wanted = handler.headers.get("Range", "")
    condition = handler.headers.get("If-Range", "")
    if not page.ranges or not wanted or condition not in (page.etag, page.last_modified):
        return 0
    return int(wanted.removeprefix("bytes=").split("-")[0])
