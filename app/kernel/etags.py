"""ETags of resources: optimistic concurrency with ``If-Match``, cheap polling with 304.

An ETag is ``"VERSION.CONTENT"``. The version changes when a user changes the resource, the content
whenever the answer would read differently, such as when nodes come and go. A write compares
versions only: it is not refused because of what the resource did by itself meanwhile.
"""

import hashlib
from datetime import datetime
from typing import Any

from fastapi import Request

from app.kernel.errors import PreconditionFailed, PreconditionRequired

_DIGITS = 20
NEEDS_READING: dict[int | str, dict[str, Any]] = {428: {}}
"""Among the responses of a route that calls `check_is_read`."""


def resource_etag(resource_id: str, updated_at: datetime) -> str:
    """Strong ETag of a row's state (RFC 9110, section 8.8), without its content."""
    digest = hashlib.sha256(f"{resource_id}@{updated_at.isoformat()}".encode()).hexdigest()
    return f'"{digest[:_DIGITS]}"'


def with_content(etag: str | None, sha256: str) -> str:
    """The ETag of an answer.

    Args:
        etag: of the resource; None: it has no version of its own.
        sha256: of the answer's body.
    """
    version = (etag or "").strip('"')
    return f'"{version}.{sha256[:_DIGITS]}"'


def is_listed(etag: str, header: str) -> bool:
    """Whether ``If-None-Match`` names this ETag (weak comparison: RFC 9110, section 8.8.3.2)."""
    return header.strip() == "*" or etag in [one.removeprefix("W/") for one in _split(header)]


def check_preconditions(request: Request, etag: str | None) -> None:
    """Enforce ``If-Match`` and ``If-None-Match: *`` of a write.

    Args:
        request: the request with its headers.
        etag: of the resource as it is now; None when there is none.

    Raises:
        PreconditionFailed: a precondition does not hold.
    """
    wanted = request.headers.get("if-match")
    if wanted is not None and (etag is None or (wanted != "*" and not _is_version(etag, wanted))):
        raise PreconditionFailed("It changed since you read it; read it again and repeat.")
    if request.headers.get("if-none-match") == "*" and etag is not None:
        raise PreconditionFailed("It exists already.")


def check_is_read(request: Request, before: str | None, after: str) -> None:
    """Refuse to replace a document that the client does not show to have read (RFC 6585, 3).

    For documents whose next state is made out of the last one, where an update that is lost does
    harm (docs/decisions/0050). To write the same again is no change, so repeating is safe.

    Args:
        request: with its headers.
        before: ETag of the document as it was; None: there was none.
        after: ETag of the document as it has become in this transaction.

    Raises:
        PreconditionRequired: it changed, and the request has no ``If-Match``.
    """
    if before not in (None, after) and "if-match" not in request.headers:
        raise PreconditionRequired(
            "It exists and would change. Send If-Match with the ETag of what you have read, or"
            " If-Match: * to replace whatever is there."
        )


def _is_version(etag: str, header: str) -> bool:
    version = etag.strip('"').partition(".")[0]
    return version in [one.strip('"').partition(".")[0] for one in _split(header)]


def _split(header: str) -> list[str]:
    return [part.strip() for part in header.split(",")]
