"""``?validate_only=true``: everything is checked and done, and taken back before the answer.

What a write would answer is found out by doing it, in the request's transaction, which is rolled
back in the end (AIP-163). Nothing is recorded, and no hint leaves.
"""

from typing import Annotated

from fastapi import Depends, Query, Request
from fastapi.responses import Response

from app.kernel.db import SessionDep

_OF_WHAT_IS_THERE = ("location", "etag")


async def _validate_only(
    request: Request,
    session: SessionDep,
    validate_only: Annotated[
        bool, Query(description="Check everything and answer as if it were done; change nothing")
    ] = False,
) -> bool:
    if validate_only:
        request.scope["validate_only"] = True
    return validate_only


ValidateOnlyDep = Annotated[bool, Depends(_validate_only, scope="function")]
"""Whether nothing is to be changed; for routes that write with the request's session alone."""
VALIDATES = Depends(_validate_only, scope="function")
"""The same, for a route that need not know."""


def is_validate_only(request: Request) -> bool:
    """Whether this request changes nothing."""
    return "validate_only" in request.scope


def as_validated(response: Response) -> Response:
    """The answer of a write, told of what is not there: 200, without address and ETag."""
    response.status_code = 200
    for name in _OF_WHAT_IS_THERE:
        if name in response.headers:
            del response.headers[name]
    return response
