"""Operations that will go away: the document says so, and so does every answer of theirs."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from email.utils import format_datetime
from typing import Any, TypeVar

from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.types import Scope

F = TypeVar("F", bound=Callable[..., Any])
_MARK = "__trainwright_deprecation__"


@dataclass(frozen=True)
class _Deprecation:
    since: date
    sunset: date
    instead: str

    def headers(self) -> dict[str, str]:
        """``Deprecation`` (RFC 9745), ``Sunset`` (RFC 8594) and what comes in its place."""
        return {
            "Deprecation": f"@{int(_midnight(self.since).timestamp())}",
            "Sunset": format_datetime(_midnight(self.sunset), usegmt=True),
            "Link": f'<{self.instead}>; rel="successor-version"',
        }


def deprecated(*, since: date, sunset: date, instead: str) -> Callable[[F], F]:
    """Mark the function of a route, beneath its ``@router…``, as deprecated.

    Args:
        since: when it became deprecated.
        sunset: from when on it may be gone.
        instead: path, or address, of what to use.
    """

    def mark(function: F) -> F:
        setattr(function, _MARK, _Deprecation(since=since, sunset=sunset, instead=instead))
        return function

    return mark


def deprecation_headers(scope: Scope) -> dict[str, str]:
    """The headers that an answer of the route in ``scope`` carries; none when it stays."""
    found: _Deprecation | None = getattr(scope.get("endpoint"), _MARK, None)
    return {} if found is None else found.headers()


def install_deprecations(app: FastAPI) -> None:
    """Let the OpenAPI document name the deprecated operations of an application."""
    for context in iter_route_contexts(app.routes):
        route = context.original_route
        if isinstance(route, APIRoute) and hasattr(route.endpoint, _MARK):
            route.deprecated = True


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time(), tzinfo=UTC)
