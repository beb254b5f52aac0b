"""Absolute addresses in answers, also behind a proxy."""

from fastapi import Request


def base_url(request: Request) -> str:
    """Address of this API as the caller reaches it, without a trailing slash."""
    prefix: str = request.scope.get("state", {}).get("forwarded_prefix", "")
    return str(request.base_url).rstrip("/") + prefix


def absolute_url(request: Request, path: str) -> str:
    """Absolute address of ``path`` (which begins with a slash) as the caller reaches it."""
    return base_url(request) + path
