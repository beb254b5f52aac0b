"""HTTP to the control plane: one kept-alive connection per thread that talks."""

from __future__ import annotations

import http.client
import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from workers.runner.control import Control
from workers.runner.errors import Away, Fenced, Refused

T = TypeVar("T")
READ_BYTES = 1 << 18
# A socket's timeout is for all that it is given at once: a slow link gets little at once.
SENT_AT_ONCE_BYTES = 1 << 14
_TRY_AGAIN = frozenset({408, 425, 429})
_JSON = "application/json"
_BYTES = "application/octet-stream"
_BROKEN = (OSError, http.client.HTTPException)


class Endpoint(NamedTuple):
    """Where the control plane is, and the file that holds this node's token."""

    url: str
    token_path: str
    control: Control

    def channel(self) -> Channel:
        """Open a channel for the calling thread."""
        return Channel(self)


class Channel:
    """Requests over one connection; belongs to one thread.

    Every request is idempotent by protocol, so one that finds its kept-alive connection closed
    is sent again at once on a new one.

    Raises (all requests):
        Away: no answer, or one that says to try again later.
        Refused: any other answer that is not a success.
        Fenced: 410, or 401 with the newest token; the control is told as well.
    """

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        parts = urlsplit(endpoint.url)
        self._is_secure = parts.scheme == "https"
        self._host = parts.hostname or "127.0.0.1"
        self._port = parts.port
        self._prefix = parts.path.rstrip("/") + "/v1/node"
        self._connection: http.client.HTTPConnection | None = None
        self._token = _read_token(endpoint.token_path)

    def get_json(self, path: str, *, timeout_seconds: float = 30) -> dict[str, Any]:
        """GET a JSON object."""
        return _object(self._request("GET", path, b"", {}, timeout_seconds))

    def post_json(
        self, path: str, body: dict[str, Any], *, timeout_seconds: float = 30
    ) -> dict[str, Any]:
        """POST a JSON object and return the one answered."""
        data = json.dumps(body).encode("ascii")
        return _object(self._request("POST", path, data, {"Content-Type": _JSON}, timeout_seconds))

    def post_bytes(self, path: str, body: bytes, headers: dict[str, str]) -> dict[str, Any]:
        """POST raw bytes and return the JSON object answered."""
        sent = {"Content-Type": _BYTES, **headers}
        return _object(self._request("POST", path, body, sent, 30))

    def put_chunks(self, path: str, chunks: Callable[[], Iterable[bytes]], size_bytes: int) -> None:
        """PUT a body of known size; `chunks` is called anew for each try."""
        headers = {"Content-Type": _BYTES, "Content-Length": str(size_bytes)}
        self._request("PUT", path, chunks, headers, 120)

    def patch_chunks(
        self, path: str, chunks: Callable[[], Iterable[bytes]], *, start: int, size_bytes: int
    ) -> dict[str, Any]:
        """PATCH the bytes from `start` on of a file of known size; `chunks` yields these."""
        headers = {
            "Content-Type": _BYTES,
            "Content-Length": str(size_bytes - start),
            "Upload-Offset": str(start),
            "Upload-Length": str(size_bytes),
        }
        # On a new connection, as one that was kept is followed by another from the same place.
        self.close()
        return _object(self._request("PATCH", path, chunks, headers, 120))

    def delete(self, path: str) -> None:
        """DELETE what is there."""
        self._request("DELETE", path, b"", {}, 30)

    def download(self, path: str, sink: Callable[[bytes], object], *, start: int = 0) -> None:
        """GET raw bytes from `start` on; a broken transfer raises Away after part of them."""
        headers = {"Range": f"bytes={start}-"} if start else {}
        response = self._answer("GET", path, b"", headers, 120)
        # Who stands between may answer with all of them.
        surplus = 0 if response.status == http.client.PARTIAL_CONTENT else start
        is_whole = False
        try:
            while chunk := self._read(response):
                sink(chunk[surplus:])
                surplus = max(0, surplus - len(chunk))
            is_whole = not response.length
        finally:
            if not is_whole:
                self.close()
        if not is_whole:
            raise Away(f"the answer ended {response.length} bytes early")

    def _read(self, response: http.client.HTTPResponse) -> bytes:
        # Not around the sink: a disk that is full is no broken connection.
        try:
            return response.read(READ_BYTES)
        except _BROKEN as error:
            raise Away(repr(error)) from error

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _request(
        self,
        method: str,
        path: str,
        body: bytes | Callable[[], Iterable[bytes]],
        headers: dict[str, str],
        timeout_seconds: float,
    ) -> bytes:
        response = self._answer(method, path, body, headers, timeout_seconds)
        try:
            return response.read()
        except _BROKEN as error:
            self.close()
            raise Away(repr(error)) from error

    def _answer(
        self,
        method: str,
        path: str,
        body: bytes | Callable[[], Iterable[bytes]],
        headers: dict[str, str],
        timeout_seconds: float,
    ) -> http.client.HTTPResponse:
        response = self._send(method, path, body, headers, timeout_seconds)
        if response.status == 401 and self._has_newer_token():
            response.read()
            response = self._send(method, path, body, headers, timeout_seconds)
        if response.status < 300:
            return response
        problem = self._problem(response)
        if response.status >= 500 or response.status in _TRY_AGAIN:
            raise Away(str(Refused(response.status, problem)), response.status)
        refusal = Refused(response.status, problem)
        if response.status in (401, 410):
            self._endpoint.control.fence(str(refusal))
            raise Fenced(str(refusal))
        raise refusal

    def _send(
        self,
        method: str,
        path: str,
        body: bytes | Callable[[], Iterable[bytes]],
        headers: dict[str, str],
        timeout_seconds: float,
    ) -> http.client.HTTPResponse:
        is_reused = self._connection is not None
        try:
            return self._exchange(method, path, body, headers, timeout_seconds)
        except _BROKEN as error:
            self.close()
            if not is_reused or isinstance(error, TimeoutError):
                raise Away(repr(error)) from error
        try:
            return self._exchange(method, path, body, headers, timeout_seconds)
        except _BROKEN as error:
            self.close()
            raise Away(repr(error)) from error

    def _exchange(
        self,
        method: str,
        path: str,
        body: bytes | Callable[[], Iterable[bytes]],
        headers: dict[str, str],
        timeout_seconds: float,
    ) -> http.client.HTTPResponse:
        connection = self._connected(timeout_seconds)
        sent = {"Authorization": "Bearer " + self._token, **headers}
        if callable(body):
            content = _pieces(body())
        elif body:
            content = _pieces([body])
            sent["Content-Length"] = str(len(body))
        else:
            content = None
        if traceparent := self._endpoint.control.traceparent:
            sent["traceparent"] = traceparent
        connection.request(method, self._prefix + path, content, sent)
        return connection.getresponse()

    def _connected(self, timeout_seconds: float) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._is_secure else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=timeout_seconds)
        elif self._connection.sock is not None:
            self._connection.sock.settimeout(timeout_seconds)
        return self._connection

    def _problem(self, response: http.client.HTTPResponse) -> dict[str, object]:
        try:
            text = response.read()
        except _BROKEN:
            self.close()
            return {}
        try:
            problem = json.loads(text)
        except ValueError:
            return {}
        return problem if isinstance(problem, dict) else {}

    def _has_newer_token(self) -> bool:
        token = _read_token(self._endpoint.token_path)
        is_newer = token != self._token
        self._token = token
        return is_newer


def persist(call: Callable[[], T], control: Control) -> T:
    """Call until it does not raise Away, with growing pauses, as long as `control` allows."""
    attempt = 0
    while True:
        control.check()
        try:
            return call()
        except Away:
            control.pause(attempt)
            attempt += 1


def _pieces(chunks: Iterable[bytes]) -> Iterator[memoryview]:
    for chunk in chunks:
        for start in range(0, len(chunk), SENT_AT_ONCE_BYTES):
            yield memoryview(chunk)[start : start + SENT_AT_ONCE_BYTES]


def _read_token(path: str) -> str:
    with open(path, encoding="ascii") as file:
        return file.read().strip()


def _object(data: bytes) -> dict[str, Any]:
    if not data:
        return {}
    try:
        value = json.loads(data)
    except ValueError as error:
        raise Away("the answer is not JSON") from error
    return value if isinstance(value, dict) else {}
