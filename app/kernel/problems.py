"""Rendering of errors as ``application/problem+json`` (RFC 9457)."""

from collections.abc import Mapping
from typing import Any

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from psycopg.errors import ProgramLimitExceeded
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import DataError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.orm.exc import StaleDataError
from starlette.exceptions import HTTPException
from starlette.types import Receive, Scope, Send

from app.kernel.errors import (
    BadRequest,
    Conflict,
    DomainError,
    FieldError,
    InternalError,
    Invalid,
    MethodNotAllowed,
    NotFound,
    Unavailable,
    UnsupportedMedia,
    invalid_field,
)
from app.kernel.json import json_bytes

PROBLEM_JSON = "application/problem+json"
_log = structlog.get_logger(__name__)


class ProblemField(BaseModel):
    """One field that is wrong."""

    pointer: str
    code: str
    message: str


class Problem(BaseModel):
    """What every answer of status 400 and above looks like (RFC 9457)."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="URI of the kind of problem")
    title: str
    status: int
    detail: str = Field(description="One line for a person")
    code: str = Field(description="Stable code for programs")
    instance: str
    request_id: str
    retryable: bool
    errors: list[ProblemField] = []


def problem_response(error: DomainError, scope: Scope) -> Response:
    """The HTTP answer for an error.

    Args:
        error: what happened.
        scope: the ASGI scope of the request, for its path and request id.
    """
    body: dict[str, Any] = {
        "type": f"urn:trainwright:problem:{error.code}",
        "title": error.title,
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "instance": scope.get("path", ""),
        "request_id": scope.get("state", {}).get("request_id", ""),
        "retryable": error.retryable,
        "errors": [vars(field) for field in error.errors],
        **error.extensions,
    }
    return Response(
        json_bytes(body), status_code=error.status, media_type=PROBLEM_JSON, headers=error.headers
    )


async def send_problem(error: DomainError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer with a problem from inside an ASGI middleware."""
    await problem_response(error, scope)(scope, receive, send)


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of the application a problem document."""

    async def on_domain(request: Request, error: Exception) -> Response:
        assert isinstance(error, DomainError)
        return problem_response(error, request.scope)

    async def on_validation(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return problem_response(_from_validation(error, request), request.scope)

    async def on_http(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if isinstance(error.__cause__, DomainError):
            # What the body's reader said; FastAPI takes everything for a defect of the body.
            return problem_response(error.__cause__, request.scope)
        if isinstance(error.__cause__, RecursionError | ValueError):
            detail = "The body cannot be read: nested too deep, or a number in it is too long."
            return problem_response(BadRequest(detail), request.scope)
        return problem_response(_from_http(error, request), request.scope)

    async def on_database(request: Request, error: Exception) -> Response:
        return problem_response(_from_database(error), request.scope)

    async def on_value(request: Request, error: Exception) -> Response:
        return problem_response(_not_storable(error), request.scope)

    async def on_race(request: Request, error: Exception) -> Response:
        # Somebody changed or removed the same thing between our look and our write.
        _log.warning("write_overtaken", error=str(error).splitlines()[0])
        detail = "Something that this is about was changed at the same moment; look and repeat."
        return problem_response(Conflict(detail), request.scope)

    async def on_defect(request: Request, error: Exception) -> Response:
        detail = "Something went wrong here; the log has the details under this request_id."
        return problem_response(InternalError(detail), request.scope)

    app.add_exception_handler(DomainError, on_domain)
    app.add_exception_handler(RequestValidationError, on_validation)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(DataError, on_value)
    app.add_exception_handler(StaleDataError, on_race)
    app.add_exception_handler(IntegrityError, on_race)
    app.add_exception_handler(OperationalError, on_database)
    app.add_exception_handler(InterfaceError, on_database)
    app.add_exception_handler(PoolTimeoutError, on_database)
    app.add_exception_handler(Exception, on_defect)


def _from_database(error: Exception) -> DomainError:
    if isinstance(error, OperationalError) and isinstance(error.orig, ProgramLimitExceeded):
        return _not_storable(error)  # as part of a key it is too large
    _log.warning("database_unavailable", error=str(error).splitlines()[0])
    return Unavailable("The database cannot be reached now; try again shortly.")


def _not_storable(error: Exception) -> DomainError:
    # The last line of defence: a schema let something pass that no column can hold.
    _log.warning("value_not_storable", error=str(error).splitlines()[0])
    message = "A value in this request is out of range or cannot be stored."
    return invalid_field("/", "value_not_storable", message)


def _from_http(error: HTTPException, request: Request) -> DomainError:
    if error.status_code == 404:
        return NotFound(f"There is nothing at {request.url.path}; GET /openapi.json lists all.")
    if error.status_code == 405:
        # Starlette knows the methods of one route only, and a path may have several.
        allowed = ", ".join(request.app.state.routes.allowed(request.url.path))
        return MethodNotAllowed(
            f"{request.method} is not possible here; allowed: {allowed}.",
            headers={"Allow": allowed},
        )
    return BadRequest(str(error.detail), headers=_headers(error.headers))


def _headers(headers: Mapping[str, str] | None) -> Mapping[str, str]:
    return headers or {}


def _from_validation(error: RequestValidationError, request: Request) -> DomainError:
    errors = error.errors()
    content_type = request.headers.get("content-type", "").split(";")[0].strip()
    if any(e["type"] == "json_invalid" for e in errors):
        place = errors[0].get("ctx", {}).get("error", "")
        return BadRequest(f"The body is not valid JSON: {place}.")
    takes_json = content_type.endswith("+json") or content_type == "application/json"
    if request.method in {"POST", "PUT", "PATCH"} and not takes_json and _body_missing(errors):
        return UnsupportedMedia("Send the body as JSON with Content-Type: application/json.")
    fields = [_field(e, error.body) for e in errors]
    first = fields[0]
    more = f" (and {len(fields) - 1} more)" if len(fields) > 1 else ""
    return Invalid(f"{first.pointer}: {first.message}{more}", errors=fields)


def _body_missing(errors: Any) -> bool:
    return any(tuple(e["loc"]) == ("body",) for e in errors)


def _field(error: Any, body: Any) -> FieldError:
    source, *parts = error["loc"]
    if source == "body":
        parts = _places(parts, body, is_missing=error["type"] == "missing")
    # The value itself stays out of the answer: it may be a secret.
    tail = "/".join(str(part).replace("~", "~0").replace("/", "~1") for part in parts)
    pointer = f"/{tail}" if source == "body" else f"{source}/{tail}"
    message = str(error["msg"]).removeprefix("Value error, ")
    return FieldError(pointer=pointer, code=str(error["type"]), message=message)


def _places(parts: list[str | int], body: Any, *, is_missing: bool) -> list[str | int]:
    """What of a location is in the body: Pydantic names the branches of unions, too."""
    if not isinstance(body, dict | list):
        return parts
    found = []
    inner: Any = body
    for index, part in enumerate(parts):
        is_there = (
            part in inner
            if isinstance(inner, dict)
            else isinstance(inner, list) and isinstance(part, int) and part < len(inner)
        )
        if is_there:
            inner = inner[part]
        if is_there or (is_missing and index == len(parts) - 1):
            found.append(part)
    return found
