"""Storage errors as answers, for routes that do not translate them themselves."""

from errno import EDQUOT, ENOSPC
from typing import Any

import structlog
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

_log = structlog.get_logger(__name__)


class StorageFull(DomainError):
    """Bytes cannot be kept, as their disk is full; nothing of them was."""

    status = 507
    code = "storage_full"
    title = "Insufficient storage"
    retryable = True

    def __init__(self) -> None:
        super().__init__(
            "The disk of the object store is full. Nothing of this was kept: try again when its "
            "operator has made room.",
            headers={"Retry-After": "60"},
        )


def install_storage_handler(app: FastAPI) -> None:
    """Answer storage errors as problems: 413 for limits, 422 for what was sent,
    507 for a full disk, else 500.
    """

    async def on_storage(request: Request, error: Exception) -> Response:
        assert isinstance(error, StorageError)
        return problem_response(_domain_error(error), request.scope)

    async def on_system(request: Request, error: Exception) -> Response:
        if isinstance(error, OSError) and error.errno in (ENOSPC, EDQUOT):
            return problem_response(StorageFull(), request.scope)
        raise error

    async def on_hang_up(request: Request, error: Exception) -> Response:
        # Nobody is there to read it; without an answer the server would log a defect.
        return Response(status_code=400)

    app.add_exception_handler(StorageError, on_storage)
    app.add_exception_handler(OSError, on_system)
    app.add_exception_handler(ClientDisconnect, on_hang_up)


def _domain_error(error: StorageError) -> DomainError:
    code: dict[str, Any] = {"code": error.code}
    if isinstance(error, ObjectTooLarge):
        return TooLarge(f"The upload has {error.message}.", extensions=code)
    if isinstance(error, ObjectMissing | ObjectCorrupt):
        return InternalError(f"Stored bytes cannot be read: {error.message}.", extensions=code)
    if isinstance(error, StoreUnavailable):
        # What the bucket says has its address in it, and the names of objects.
        _log.warning("object_store_unavailable", error=error.message)
        return Unavailable("The object store is out of reach; the log of the API says why.")
    fields = [FieldError("", error.code, error.message)]
    return Invalid(error.message, errors=fields, extensions=code)
