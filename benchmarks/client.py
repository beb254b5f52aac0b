"""One kept-alive connection; as little work as can be between two requests."""

import http.client
import json
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from examples.walk.talk import StepError

_IDLE_SECONDS = 2.0


class Client:
    """A client of one server.

    Args:
        address: of the server.
        token: sent with every request.
        prefix: put before every path.
    """

    def __init__(self, address: str, token: str, prefix: str = "") -> None:
        parts = urlsplit(address)
        self._connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=300)
        self._headers = {"Authorization": f"Bearer {token}"}
        self._prefix = prefix
        self._used_at = time.monotonic()

    def post(self, path: str, body: Any, *, headers: Mapping[str, str] | None = None) -> Any:
        """Send JSON, get JSON."""
        data = json.dumps(body).encode()
        return self._json("POST", path, data, "application/json", headers)

    def send(self, path: str, data: bytes) -> Any:
        """Post JSON that is written already, get JSON."""
        return self._json("POST", path, data, "application/json")

    def get(self, path: str) -> Any:
        """Get JSON."""
        return self._json("GET", path, None, None)

    def put(self, path: str, data: bytes) -> Any:
        """Send bytes, get JSON."""
        return self._json("PUT", path, data, "application/octet-stream")

    def read(self, path: str) -> int:
        """Get bytes and throw them away; returns how many they were."""
        answer = self._request("GET", path, None, None)
        size = 0
        while chunk := answer.read(1 << 20):
            size += len(chunk)
        return size

    def _json(
        self,
        method: str,
        path: str,
        data: bytes | None,
        media: str | None,
        more: Mapping[str, str] | None = None,
    ) -> Any:
        return json.loads(self._request(method, path, data, media, more).read() or b"null")

    def _request(
        self,
        method: str,
        path: str,
        data: bytes | None,
        media: str | None,
        more: Mapping[str, str] | None = None,
    ) -> http.client.HTTPResponse:
        headers = {**self._headers, **(more or {})}
        if media is not None:
            headers["Content-Type"] = media
        if time.monotonic() - self._used_at > _IDLE_SECONDS:
            self._connection.close()  # the server may have done so; the next request opens it
        self._connection.request(method, self._prefix + path, data, headers)
        answer = self._connection.getresponse()
        self._used_at = time.monotonic()
        if answer.status >= 300:
            raise StepError(
                f"{method} {path} was answered {answer.status}: {answer.read()[:500]!r}"
            )
        return answer
