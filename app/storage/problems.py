"""Storage errors as answers, for routes that do not translate them themselves."""

from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from starlette.requests import ClientDisconnect

from app.kernel.errors import DomainError, FieldError, InternalError, Invalid, TooLarge, Unavailable
from app.kernel.problems import problem_response
from app.storage.errors import (
    ObjectCorrupt,
    ObjectMissing,
    ObjectTooLarge,
    StorageError,
    StoreUnavailable,
)


def install_storage_handler(app: FastAPI) -> None:
    """Answer storage errors as problems: 413 for limits, 422 for what was sent, else 500."""

    async def on_storage(request: Request, error: Exception) -> Response:
        assert isinstance(error, StorageError)
        return problem_response(_domain_error(error), request.scope)

    async def on_hang_up(request: Request, error: Exception) -> Response:
        # Nobody is there to read it; without an answer the server would log a defect.
        return Response(status_code=400)

    app.add_exception_handler(StorageError, on_storage)
    app.add_exception_handler(ClientDisconnect, on_hang_up)


def _domain_error(error: StorageError) -> DomainError:
    code: dict[str, Any] = {"code": error.code}
    if isinstance(error, ObjectTooLarge):
        return TooLarge(f"The upload has {error.message}.", extensions=code)
    if isinstance(error, ObjectMissing | ObjectCorrupt):
        return InternalError(f"Stored bytes cannot be read: {error.message}.", extensions=code)
    if isinstance(error, StoreUnavailable):
        return Unavailable(f"The object store is out of reach: {error.message}")
    fields = [FieldError("", error.code, error.message)]
    return Invalid(error.message, errors=fields, extensions=code)
