"""What each operation needs of its caller, as the document names it."""

from typing import Any

from fastapi import FastAPI
from fastapi.routing import iter_route_contexts

from app.auth.needs import need_of

Needs = dict[tuple[str, str], dict[str, Any]]


def needs(app: FastAPI) -> Needs:
    """What every operation needs of its caller, by path and method."""
    found: Needs = {}
    for route in iter_route_contexts(app.routes):
        need = need_of(route.endpoint)
        if need is None or route.path_format is None:
            continue
        said: dict[str, Any] = {"x-permission": need.permission}
        if need.run:
            said["x-run-token"] = True
        if need.deployment_key:
            said["x-deployment-key"] = True
        for method in route.methods or ():
            found[route.path_format, method.lower()] = said
    return found
