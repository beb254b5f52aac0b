"""Page tokens of searches: how far the last page went, bound to what was asked."""

import base64
import json
from collections.abc import Sequence
from typing import Any

from app.kernel.pagination import binding_of_listing
from app.mlflow.errors import InvalidParameter


def binding_of(*asked: Any) -> str:
    """What a token is bound to: the filters and the order it was made under."""
    return binding_of_listing(json.dumps(asked, default=str))


def offset_of(token: str | None, binding: str) -> int:
    """The offset in a token; 0 without one.

    Raises:
        InvalidParameter: it is not a token of this search.
    """
    if not token:
        return 0
    try:
        decoded = base64.b64decode(token.encode(), altchars=b"-_", validate=True)
    except ValueError as error:
        raise InvalidParameter("Invalid page token, could not base64-decode") from error
    try:
        found, offset = json.loads(decoded)
    except (ValueError, TypeError, RecursionError):
        found, offset = None, 0
    if found != binding or not isinstance(offset, int) or offset < 0:
        raise InvalidParameter(
            "Invalid page token: not one of this search with these filters; start without it."
        )
    return offset


def page_of(
    rows: Sequence[Any], *, offset: int, limit: int, binding: str
) -> tuple[Sequence[Any], dict[str, str]]:
    """Cut one row too many off.

    Args:
        rows: at most ``limit + 1`` of them.
        offset: of the first row.
        limit: the size of a page.
        binding: what the next page's token is bound to.

    Returns:
        The page, and ``{"next_page_token": …}`` unless it is the last.
    """
    if len(rows) <= limit:
        return rows, {}
    token = base64.urlsafe_b64encode(json.dumps([binding, offset + limit]).encode()).decode()
    return rows[:limit], {"next_page_token": token}
