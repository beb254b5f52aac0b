"""ETags of resources: optimistic concurrency with ``If-Match``."""

import hashlib
from datetime import datetime

from fastapi import Request

from app.kernel.errors import PreconditionFailed


def resource_etag(resource_id: str, updated_at: datetime) -> str:
    """Strong ETag of a row's state (RFC 9110, section 8.8)."""
    digest = hashlib.sha256(f"{resource_id}@{updated_at.isoformat()}".encode()).hexdigest()
    return f'"{digest[:20]}"'


def check_preconditions(request: Request, etag: str | None) -> None:
    """Enforce ``If-Match`` and ``If-None-Match: *`` of a write.

    Args:
        request: the request with its headers.
        etag: of the resource as it is now; None when there is none.

    Raises:
        PreconditionFailed: a precondition does not hold.
    """
    wanted = request.headers.get("if-match")
    if wanted is not None and (etag is None or (wanted != "*" and etag not in _split(wanted))):
        raise PreconditionFailed("It changed since you read it; read it again and repeat.")
    if request.headers.get("if-none-match") == "*" and etag is not None:
        raise PreconditionFailed("It exists already.")


def _split(header: str) -> list[str]:
    return [part.strip() for part in header.split(",")]
