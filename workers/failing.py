"""What rows with an ``error`` say while looks at them fail, and have not come to their end."""

from typing import Any, TypeGuard

_CODE = "reconcile_failed"


def failing(thing: str, error: str) -> dict[str, str]:
    """The error of a row at which looks fail.

    Args:
        thing: what the row stands for, with its article.
        error: the type of what looks end with.
    """
    return {
        "code": _CODE,
        "message": f"A look at {thing} ended with {error}, and is tried again.",
    }


def is_failing(error: Any) -> TypeGuard[dict[str, Any]]:
    """Whether the error of a row says no more than that looks at it fail."""
    return isinstance(error, dict) and error.get("code") == _CODE
