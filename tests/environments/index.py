"""A small package index on this machine: real wheels over real HTTP, held up on demand."""

import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class PackageIndex:
    """What the index offers, and what was asked of it."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[str] = []
        self.open = threading.Event()
        self.open.set()
        self.asked_while_closed = threading.Event()
        self._wheels: dict[str, bytes] = {}

    def add(self, name: str, version: str) -> None:
        """Offer a package with one module that has its name."""
        info = f"{name}-{version}.dist-info"
        files = {
            f"{name}.py": f"VERSION = {version!r}\n",
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            for path, text in files.items():
                archive.writestr(path, text)
        self._wheels[f"{name}-{version}-py3-none-any.whl"] = packed.getvalue()

    def answer(self, path: str) -> tuple[int, str, bytes]:
        """Status, media type and body for a path."""
        self.requests.append(path)
        if not self.open.is_set():
            self.asked_while_closed.set()
            self.open.wait(timeout=60)
        last = path.rstrip("/").rsplit("/", 1)[-1]
        if path.startswith("/files/") and last in self._wheels:
            return 200, "application/octet-stream", self._wheels[last]
        links = "".join(
            f'<a href="/files/{wheel}#sha256={hashlib.sha256(data).hexdigest()}">{wheel}</a>\n'
            for wheel, data in self._wheels.items()
            if wheel.startswith(f"{last.replace('-', '_')}-")
        )
        return (200 if links else 404), "text/html", links.encode()


@contextmanager
def package_index(host: str = "127.0.0.1") -> Iterator[PackageIndex]:
    """Serve an index on a free port of an address for the block."""
    index = PackageIndex()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, media_type, body = index.answer(self.path)
            self.send_response(status)
            self.send_header("Content-Type", media_type)
            self.send_header("Content-Length", str(len(body)))
            if self.path.startswith("/files/"):
                # As the public index says of files, which never change.
                self.send_header("Cache-Control", "max-age=365000000, immutable, public")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            pass

        def handle(self) -> None:
            with suppress(OSError):  # uv was killed in the middle, as the test wanted
                super().handle()

    server = ThreadingHTTPServer((host, 0), Handler)
    server.daemon_threads = True
    index.url = f"http://{host}:{server.server_port}/simple"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield index
    finally:
        index.open.set()
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)
