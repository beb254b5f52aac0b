"""Which methods a path has, and which parameters a route takes, over all routes."""

from collections.abc import Iterator
from re import Pattern
from typing import Any, NamedTuple

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts


class _Known(NamedTuple):
    pattern: Pattern[str]
    methods: frozenset[str]


_EVERYWHERE = frozenset({"pretty"})
"""What the middlewares understand."""
_FROM_OUTSIDE = frozenset({"/v1/auth/callback"})
"""A provider of sign-in adds what it likes (RFC 6749, 4.1.2)."""


class RouteTable:
    """The paths and methods of an application, as they are when this is made."""

    def __init__(self, app: FastAPI) -> None:
        self._known = [
            _Known(context.path_regex, frozenset(context.methods))
            for context in iter_route_contexts(app.routes)
            if context.methods
        ]

        self._parameters = {
            context.endpoint: _EVERYWHERE.union(_query_names(context.dependant))
            for context in iter_route_contexts(app.routes)
            if context.path not in _FROM_OUTSIDE
            and getattr(context, "dependant", None) is not None
            and context.include_in_schema
        }

    def parameters(self, endpoint: Any) -> frozenset[str] | None:
        """The names of the query parameters of a route; None: whatever comes.

        Operations of the document take what it names; others are for clients that we do not know.
        """
        return self._parameters.get(endpoint)

    def methods(self, path: str) -> frozenset[str]:
        """The methods that the routes of a path have."""
        found = [known.methods for known in self._known if known.pattern.match(path)]
        return frozenset().union(*found)

    def allowed(self, path: str) -> list[str]:
        """The methods that a path answers, in order; HEAD is there wherever GET is."""
        methods = self.methods(path)
        return sorted(methods | {"HEAD"} if "GET" in methods else methods)


def _query_names(dependant: Dependant) -> Iterator[str]:
    for parameter in dependant.query_params:
        yield parameter.alias
    for inner in dependant.dependencies:
        yield from _query_names(inner)
