"""Whatever is refused below a workspace's tracking address, is refused in MLflow's own shape.

The rest of the application speaks ``application/problem+json``; clients of MLflow read
``{"error_code", "message"}``. One middleware translates, so that it holds for what no route of
this package ever sees: a missing token, a body that is too large, a database that is away.
"""

import json
import re
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.kernel.json import json_bytes
from app.kernel.problems import PROBLEM_JSON

_PATHS = re.compile(r"^/v1/workspaces/[^/]+/mlflow(/|$)")
_SLASHES = re.compile(r"(?<=/mlflow)/{2,}")
_CODES = {
    400: "INVALID_PARAMETER_VALUE",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "RESOURCE_DOES_NOT_EXIST",
    405: "ENDPOINT_NOT_FOUND",
    409: "RESOURCE_CONFLICT",
    410: "RESOURCE_CONFLICT",
    413: "INVALID_PARAMETER_VALUE",
    415: "INVALID_PARAMETER_VALUE",
    422: "INVALID_PARAMETER_VALUE",
    503: "TEMPORARILY_UNAVAILABLE",
}
_STATUSES = {405: 404, 415: 400, 422: 400}
"""Ours that MLflow's servers answer otherwise."""
_MESSAGES = {415: "Bad Request. Content-Type must be one of ['application/json']."}


class MlflowProblems:
    """Renders problem documents of the tracking paths anew."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path: str = scope.get("path", "")
        # Most are told by the word alone.
        if scope["type"] != "http" or "/mlflow" not in path or not _PATHS.match(path):
            await self._app(scope, receive, send)
            return
        if "/mlflow//" in path:
            # A tracking address that ends with a slash, and a path behind it that begins with one.
            scope["path"] = _SLASHES.sub("/", path, count=1)
        held: list[Message] = []
        body = bytearray()

        async def translate(message: Message) -> None:
            if message["type"] == "http.response.start" and _is_problem(message):
                held.append(message)
            elif not held:
                await send(message)
            else:
                body.extend(message.get("body", b""))
                if not message.get("more_body", False):
                    await _send_translated(send, held[0], bytes(body))

        await self._app(scope, receive, translate)


def _is_problem(message: Message) -> bool:
    content_type = Headers(raw=message["headers"]).get("content-type", "")
    return content_type.startswith(PROBLEM_JSON)


async def _send_translated(send: Send, start: Message, problem: bytes) -> None:
    document: dict[str, Any] = json.loads(problem)
    status = start["status"]
    code = document.get("error_code") or _CODES.get(status, "INTERNAL_ERROR")
    told = {"error_code": code, "message": _MESSAGES.get(status, document["detail"])}
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        # The detail speaks of it; the header X-Request-Id has it always.
        told["request_id"] = document["request_id"]
    content = json_bytes(told)
    headers = MutableHeaders(raw=list(start["headers"]))
    headers["content-type"] = "application/json"
    headers["content-length"] = str(len(content))
    await send({**start, "status": _STATUSES.get(status, status), "headers": headers.raw})
    await send({"type": "http.response.body", "body": content})
