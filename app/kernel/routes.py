"""Which methods a path has, over all routes."""

from re import Pattern
from typing import NamedTuple

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts


class _Known(NamedTuple):
    pattern: Pattern[str]
    methods: frozenset[str]


class RouteTable:
    """The paths and methods of an application, as they are when this is made."""

    def __init__(self, app: FastAPI) -> None:
        self._known = [
            _Known(context.path_regex, frozenset(context.methods))
            for context in iter_route_contexts(app.routes)
            if context.methods
        ]

    def methods(self, path: str) -> frozenset[str]:
        """The methods that the routes of a path have."""
        found = [known.methods for known in self._known if known.pattern.match(path)]
        return frozenset().union(*found)

    def allowed(self, path: str) -> list[str]:
        """The methods that a path answers, in order; HEAD is there wherever GET is."""
        methods = self.methods(path)
        return sorted(methods | {"HEAD"} if "GET" in methods else methods)
