"""Where a worker tells how it is: /healthz, /readyz and /metrics, from a thread of its own.

It answers while the loop stands still, and needs neither database nor broker.
"""

import json
import socket
import threading
from collections.abc import Callable, Iterable
from http import HTTPStatus
from socketserver import ThreadingMixIn
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from app.kernel.db import PoolUse
from app.kernel.measures import REGISTRY
from app.kernel.pool_figures import PoolFigures
from workers.pulse import Pulse

_RETRY_AFTER_SECONDS = 5


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = 10  # of a caller that says nothing

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Not a line for every question."""


class HealthDoor:
    """A small HTTP server.

    Args:
        address: ``host:port``; port 0: a free one.
        pulse: of the worker's loop.
        pool_use: what its pools of database connections hold.

    Raises:
        OSError: the address cannot be listened on.
    """

    def __init__(self, address: str, pulse: Pulse, pool_use: Callable[[], list[PoolUse]]) -> None:
        host, _, port = address.rpartition(":")
        self._pulse = pulse
        self._pools = CollectorRegistry()
        self._pools.register(PoolFigures(pool_use))
        server = _Server6 if ":" in host else _Server
        self._server = make_server(
            host.strip("[]"), int(port), self._answer, server_class=server, handler_class=_Handler
        )
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="health", daemon=True
        )
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._server.server_port

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            body = generate_latest(REGISTRY) + generate_latest(self._pools)
            start("200 OK", [("Content-Type", CONTENT_TYPE_LATEST)])
            return [body]
        if path == "/healthz":
            return _told(start, self._pulse.complaint(), "ok", "not_alive", path)
        if path == "/readyz":
            return _told(start, self._pulse.obstacle(), "ready", "not_ready", path)
        return _problem(
            start, HTTPStatus.NOT_FOUND, "not_found", f"There is nothing at {path}.", path
        )


def _told(
    start: Callable[..., Any], trouble: str, status: str, code: str, path: str
) -> Iterable[bytes]:
    if trouble:
        return _problem(start, HTTPStatus.SERVICE_UNAVAILABLE, code, trouble, path)
    start("200 OK", [("Content-Type", "application/json")])
    return [json.dumps({"status": status}).encode() + b"\n"]


def _problem(
    start: Callable[..., Any], status: HTTPStatus, code: str, detail: str, path: str
) -> Iterable[bytes]:
    is_passing = status == HTTPStatus.SERVICE_UNAVAILABLE
    headers = [("Content-Type", "application/problem+json")]
    if is_passing:
        headers.append(("Retry-After", str(_RETRY_AFTER_SECONDS)))
    start(f"{status.value} {status.phrase}", headers)
    body: dict[str, Any] = {
        "type": f"urn:trainwright:problem:{code}",
        "title": status.phrase,
        "status": status.value,
        "detail": detail,
        "code": code,
        "instance": path,
        "retryable": is_passing,
        "errors": [],
    }
    return [json.dumps(body).encode() + b"\n"]
