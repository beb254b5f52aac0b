"""Handwritten digits as the four classic archives, and a small web server for a folder.

``python -m examples.digits FOLDER`` writes scikit-learn's bundled digits as ``idx`` archives into
FOLDER and serves them on this machine until it is interrupted: what the walk in the README uses
as "the web addresses of the data set".
"""

import gzip
import hashlib
import struct
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import numpy as np
import numpy.typing as npt
from sklearn.datasets import load_digits

Images = npt.NDArray[np.uint8]

ARCHIVES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
SIDE = 28
_ENLARGED = 3
_TEST_COUNT = 297
_SHUFFLE_SEED = 7
_UNSIGNED_BYTE = 0x08
_CHUNK_BYTES = 256 * 1024


class BadArchiveError(ValueError):
    """A file is not an ``idx`` archive of unsigned bytes."""


def write_digits(folder: Path) -> None:
    """Write the four archives into ``folder``; every call writes the same bytes.

    scikit-learn's 1,797 digits (8×8, values 0–16) are enlarged three times and centred in 28×28
    pixels of one byte, shuffled with a fixed seed, and the last 297 kept for testing.
    """
    bunch: Any = load_digits()
    order = np.random.default_rng(_SHUFFLE_SEED).permutation(len(bunch.target))
    images = _enlarge(bunch.images[order])
    labels = bunch.target[order].astype(np.uint8)
    folder.mkdir(parents=True, exist_ok=True)
    parts = (
        images[:-_TEST_COUNT],
        labels[:-_TEST_COUNT],
        images[-_TEST_COUNT:],
        labels[-_TEST_COUNT:],
    )
    for name, array in zip(ARCHIVES, parts, strict=True):
        (folder / name).write_bytes(_pack(array))


def read_archive(path: Path) -> Images:
    """The array in one ``idx`` archive.

    Raises:
        BadArchiveError: the file is not a gzip of unsigned bytes in the ``idx`` layout.
    """
    raw = gzip.decompress(path.read_bytes())
    zero, kind, rank = struct.unpack(">HBB", raw[:4])
    if zero != 0 or kind != _UNSIGNED_BYTE:
        raise BadArchiveError(f"{path.name} is not an idx archive of unsigned bytes")
    shape = struct.unpack(f">{rank}I", raw[4 : 4 + 4 * rank])
    return np.frombuffer(raw, dtype=np.uint8, offset=4 + 4 * rank).reshape(shape)


def _enlarge(images: npt.NDArray[np.float64]) -> Images:
    grown = images.repeat(_ENLARGED, axis=1).repeat(_ENLARGED, axis=2)
    margin = (SIDE - grown.shape[1]) // 2
    framed = np.pad(grown, ((0, 0), (margin, margin), (margin, margin)))
    return np.round(framed * (255.0 / 16.0)).astype(np.uint8)


def _pack(array: Images) -> bytes:
    header = struct.pack(">HBB", 0, _UNSIGNED_BYTE, array.ndim)
    sizes = struct.pack(f">{array.ndim}I", *array.shape)
    return gzip.compress(header + sizes + array.tobytes(), mtime=0)


class FolderHandler(BaseHTTPRequestHandler):
    """Serves the files of one folder with ETag, Last-Modified, Range and HEAD."""

    protocol_version = "HTTP/1.1"
    folder: Path

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its base names it so
        """Stay silent: the walk prints what it asks for itself."""

    def _answer(self, *, with_body: bool) -> None:
        path = self._path()
        if path is None:
            self._empty(HTTPStatus.NOT_FOUND)
            return
        size = path.stat().st_size
        etag = f'"{hashlib.sha256(path.read_bytes()).hexdigest()[:32]}"'
        if self.headers.get("If-None-Match") == etag:
            self._empty(HTTPStatus.NOT_MODIFIED, {"ETag": etag})
            return
        span = self._span(size, etag)
        if span is None:
            self._empty(
                HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE, {"Content-Range": f"bytes */{size}"}
            )
            return
        start, end = span
        partial = end - start < size
        self.send_response(HTTPStatus.PARTIAL_CONTENT if partial else HTTPStatus.OK)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(end - start))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("ETag", etag)
        self.send_header("Last-Modified", formatdate(path.stat().st_mtime, usegmt=True))
        if partial:
            self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
        self.end_headers()
        if with_body:
            self._send(path, start=start, end=end)

    def _path(self) -> Path | None:
        name = unquote(urlsplit(self.path).path).lstrip("/")
        path = (self.folder / name).resolve()
        inside = path.is_relative_to(self.folder.resolve())
        return path if inside and path.is_file() else None

    def _span(self, size: int, etag: str) -> tuple[int, int] | None:
        """The bytes asked for, as a half-open span; None where there are none such."""
        asked = self.headers.get("Range", "")
        if (
            not asked.startswith("bytes=")
            or "," in asked
            or self.headers.get("If-Range", etag) != etag
        ):
            return 0, size
        first, _, last = asked.removeprefix("bytes=").partition("-")
        if not (first or last) or not (first + last).isdigit():
            return 0, size
        if not first:
            return (max(0, size - int(last)), size) if int(last) else None
        end = min(size, int(last) + 1) if last else size
        return (int(first), end) if int(first) < end else None

    def _send(self, path: Path, *, start: int, end: int) -> None:
        with path.open("rb") as source:
            source.seek(start)
            left = end - start
            while left > 0 and (chunk := source.read(min(_CHUNK_BYTES, left))):
                self.wfile.write(chunk)
                left -= len(chunk)

    def _empty(self, status: HTTPStatus, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()


@contextmanager
def serve_folder(folder: Path, *, port: int = 0) -> Iterator[str]:
    """Serve ``folder`` on 127.0.0.1 while the block runs.

    Args:
        folder: whose files are served.
        port: 0 lets the system choose; a port that is taken does so too.

    Yields:
        The base address, without a slash at its end.
    """
    handler = type("Handler", (FolderHandler,), {"folder": folder})
    server = _bind(handler, port)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, name="folder-server", daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(timeout=5)


def _bind(handler: type[BaseHTTPRequestHandler], port: int) -> ThreadingHTTPServer:
    try:
        return ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError:
        return ThreadingHTTPServer(("127.0.0.1", 0), handler)


def main(arguments: list[str]) -> int:
    """Write the archives into the folder named and serve them until interrupted."""
    if len(arguments) not in (1, 2):
        sys.stderr.write("usage: python -m examples.digits FOLDER [PORT]\n")
        return 2
    folder = Path(arguments[0])
    if not all((folder / name).exists() for name in ARCHIVES):
        write_digits(folder)
    with serve_folder(folder, port=int(arguments[1]) if len(arguments) == 2 else 0) as address:
        sys.stdout.write(f"{address}\n")
        sys.stdout.flush()
        try:
            threading.Event().wait()
        except KeyboardInterrupt:
            return 0
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
