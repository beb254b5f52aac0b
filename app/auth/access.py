"""Who may call a route: every route takes one of these."""

from typing import Annotated

from fastapi import Depends, Request

from app.auth.principal import Principal
from app.kernel.errors import Forbidden

# Asynchronous though they wait for nothing: others would go through a pool of threads, each.


async def _principal(request: Request) -> Principal:
    return principal_of(request)


def principal_of(request: Request) -> Principal:
    """Who sends this request; the middleware has found out."""
    principal: Principal = request.scope["principal"]
    return principal


async def _user(request: Request) -> Principal:
    principal = principal_of(request)
    if principal.kind != "user":
        raise Forbidden(f"A {principal.kind} token may not do this; use an API token.")
    return principal


async def _user_or_run(request: Request) -> Principal:
    return user_or_run(request)


def user_or_run(request: Request) -> Principal:
    """The user or the run that sends this request; a run may speak of itself only.

    Raises:
        Forbidden: it is somebody else.
    """
    principal = principal_of(request)
    if principal.kind not in ("user", "run"):
        raise Forbidden(f"A {principal.kind} token may not do this; use an API token.")
    run_id = request.path_params.get("run_id")
    if principal.kind == "run" and run_id is not None and run_id != principal.id:
        raise Forbidden("A run's token is good for its own run only.")
    return principal


async def _node(request: Request) -> Principal:
    principal = principal_of(request)
    if principal.kind != "node":
        raise Forbidden("Only a node may call this.")
    return principal


UserAccess = Annotated[Principal, Depends(_user)]
"""An API token."""
UserOrRunAccess = Annotated[Principal, Depends(_user_or_run)]
"""An API token, or a run's own token within its workspace; a ``run_id`` in the path is its own."""
NodeAccess = Annotated[Principal, Depends(_node)]
"""The runner of a node."""
AnyAccess = Annotated[Principal, Depends(_principal)]
"""Anybody with a credential; the route itself checks more."""
