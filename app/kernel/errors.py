"""Errors that reach the user: one tree, rendered once as ``application/problem+json``."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar


@dataclass(frozen=True)
class FieldError:
    """One thing wrong with one field.

    Attributes:
        pointer: JSON pointer (RFC 6901) to the field in the body, or ``query/NAME``, ``path/NAME``.
        code: stable snake_case code.
        message: what is wrong and what to do, for a person.
    """

    pointer: str
    code: str
    message: str


class DomainError(Exception):
    """Base of all errors that are answers: status, stable code, one line for a person."""

    status: ClassVar[int] = 400
    code: ClassVar[str] = "bad_request"
    title: ClassVar[str] = "Bad request"
    retryable: ClassVar[bool] = False

    def __init__(
        self,
        detail: str,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
        self.extensions = dict(extensions or {})


class BadRequest(DomainError):
    """The request cannot be understood."""


class Unauthorized(DomainError):
    """No valid credentials came with the request."""

    status = 401
    code = "unauthorized"
    title = "Authentication required"

    def __init__(self, detail: str = "Send a valid token: Authorization: Bearer TOKEN.") -> None:
        super().__init__(detail, headers={"WWW-Authenticate": 'Bearer realm="trainwright"'})


class Forbidden(DomainError):
    """The credentials are valid but do not allow this."""

    status = 403
    code = "forbidden"
    title = "Forbidden"


class NotFound(DomainError):
    """The thing does not exist, or the caller may not know of it."""

    status = 404
    code = "not_found"
    title = "Not found"


class MethodNotAllowed(DomainError):
    """The resource exists but not with this method."""

    status = 405
    code = "method_not_allowed"
    title = "Method not allowed"


class Conflict(DomainError):
    """The request contradicts the present state."""

    status = 409
    code = "conflict"
    title = "Conflict"


class Gone(DomainError):
    """The thing, or the caller's claim on it, is over for good."""

    status = 410
    code = "gone"
    title = "Gone"


class PreconditionFailed(DomainError):
    """``If-Match`` or ``If-None-Match`` did not hold."""

    status = 412
    code = "precondition_failed"
    title = "Precondition failed"


class PreconditionRequired(DomainError):
    """A document that exists would be replaced by somebody who may not have read it."""

    status = 428
    code = "precondition_required"
    title = "Precondition required"


class TooLarge(DomainError):
    """The body, or what it unpacks to, is over a limit."""

    status = 413
    code = "too_large"
    title = "Content too large"


class UnsupportedMedia(DomainError):
    """The body's media type is not one that this operation takes."""

    status = 415
    code = "unsupported_media_type"
    title = "Unsupported media type"


class RangeNotSatisfiable(DomainError):
    """The requested byte range lies outside the content."""

    status = 416
    code = "range_not_satisfiable"
    title = "Range not satisfiable"


class AddressTooLong(DomainError):
    """The address of the request is over a limit."""

    status = 414
    code = "address_too_long"
    title = "Address too long"


class HeadersTooLarge(DomainError):
    """The header fields of the request are too many or too long."""

    status = 431
    code = "headers_too_large"
    title = "Header fields too large"


class TooManyRequests(DomainError):
    """The caller asks too often, or for too much at once; later it will be answered."""

    status = 429
    code = "rate_limited"
    title = "Too many requests"
    retryable = True

    def __init__(self, detail: str, *, retry_after_seconds: int) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


class Invalid(DomainError):
    """The request is understood and its content is wrong."""

    status = 422
    code = "invalid"
    title = "Invalid request"


class InternalError(DomainError):
    """A defect of ours."""

    status = 500
    code = "internal_error"
    title = "Internal error"


class Unavailable(DomainError):
    """Cannot be answered now; trying again later helps."""

    status = 503
    code = "unavailable"
    title = "Temporarily unavailable"
    retryable = True

    def __init__(self, detail: str, *, retry_after_seconds: int = 2) -> None:
        super().__init__(detail, headers={"Retry-After": str(retry_after_seconds)})


def invalid_field(pointer: str, code: str, message: str) -> Invalid:
    """An ``Invalid`` about a single field.

    Args:
        pointer: JSON pointer to the field.
        code: stable code of what is wrong.
        message: what is wrong and what to do.
    """
    return Invalid(message, errors=[FieldError(pointer=pointer, code=code, message=message)])
