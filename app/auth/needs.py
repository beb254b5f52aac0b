"""What a route needs of its caller: declared above it, checked in one place, else refused.

`@needs` stands between a route's decorators and its function. `authorize` runs before everything
else of every route; one that declares nothing is refused.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from fastapi import Request
from starlette.types import Scope

from app.auth.audit import Note
from app.auth.permissions import ACCOUNT_PERMISSIONS, WORKSPACE_PERMISSIONS, Permission
from app.auth.principal import Principal
from app.kernel.errors import Forbidden, NotFound

_DECLARED = "__needs__"
_READING = ("GET", "HEAD", "OPTIONS")
Special = Literal["anybody", "any-credential", "node"]
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])


class PermissionMissing(Forbidden):
    """The caller sees the place and may not do this there."""

    code = "permission_missing"

    def __init__(self, permission: str, where: str) -> None:
        super().__init__(
            f"This needs the permission {permission} {where}, which this token does not have.",
            extensions={"permission": permission},
        )


@dataclass(frozen=True)
class Need:
    """What a route needs.

    Attributes:
        permission: of a user; or ``anybody`` (no credential), ``any-credential`` (whatever is
            valid), ``node`` (the runner of a node).
        run: a run's own token is good for it as well, within its workspace; a ``run_id`` in the
            address must be its own, and what it names otherwise the route checks.
        deployment_key: a key of the deployment in the address is good for it as well; the route
            checks it.
        creates: the workspace in the address may be a new one.
        audited: the audit log has it, unless it is a GET or HEAD. What scripts and clients do very
            often is left out: their runs have it.
    """

    permission: Permission | Special
    run: bool = False
    deployment_key: bool = False
    creates: bool = False
    audited: bool = True


def needs(
    permission: Permission | Special,
    *,
    run: bool = False,
    deployment_key: bool = False,
    creates: bool = False,
    audited: bool = True,
) -> Callable[[Endpoint], Endpoint]:
    """Declare what a route needs; see `Need`."""
    need = Need(
        permission, run=run, deployment_key=deployment_key, creates=creates, audited=audited
    )

    def declare(endpoint: Endpoint) -> Endpoint:
        setattr(endpoint, _DECLARED, need)
        return endpoint

    return declare


def need_of(endpoint: object) -> Need | None:
    """What an endpoint declares; None: nothing."""
    found: Need | None = getattr(endpoint, _DECLARED, None)
    return found


async def authorize(request: Request) -> None:
    """Let the caller in, or not; asynchronous lest it goes through a pool of threads.

    Raises:
        Forbidden: the caller may not do this.
        NotFound: the caller may not know of the workspace, or of the run.
    """
    authorize_scope(request.scope)


def authorize_scope(scope: Scope) -> None:
    """Let the caller of the endpoint in ``scope`` in, or not; raises as `authorize` does."""
    endpoint: Any = scope.get("endpoint")
    need = need_of(endpoint)
    if need is None:
        raise Forbidden("This route declares no permission, so nobody may use it.")
    path: dict[str, Any] = scope["path_params"]
    note: Note = scope["audit"]
    note.operation = endpoint.__name__
    note.permission = need.permission
    note.target = path
    if need.permission != "anybody":
        try:
            check(need, scope["principal"], path)
        except NotFound:
            note.denied = True
            raise
    note.changes = need.audited and need.permission != "node" and scope["method"] not in _READING


def check(need: Need, principal: Principal, path: dict[str, Any]) -> None:
    """Compare what is needed with who asks.

    Args:
        need: of the route.
        principal: who asks.
        path: the parameters in the address.

    Raises:
        Forbidden: the caller may not do this.
        NotFound: the caller may not know of the workspace, or of the run.
    """
    if need.permission == "any-credential":
        return
    if principal.kind != "user":
        _check_machine(need, principal, path)
    elif need.permission == "node":
        raise Forbidden("Only a node may call this.")
    elif need.permission in WORKSPACE_PERMISSIONS:
        _check_in_workspace(need, principal, str(path.get("workspace", "")))
    elif not may(principal, need.permission):
        raise PermissionMissing(need.permission, "of this installation")


def may(principal: Principal, permission: str) -> bool:
    """Whether a user has a permission outside of workspaces."""
    scope = principal.scope
    if permission not in ACCOUNT_PERMISSIONS and not principal.is_admin:
        return False
    if scope.permissions is not None:
        return permission in scope.permissions
    # A token for some workspaces is good for nothing else, but to ask whose it is.
    return scope.workspaces is None or permission == "account.read"


def _check_machine(need: Need, principal: Principal, path: dict[str, Any]) -> None:
    if need.permission == "node" and principal.kind == "node":
        return
    if need.deployment_key and principal.kind == "deployment":
        return
    if not need.run or principal.kind != "run":
        raise Forbidden(f"A {principal.kind} token may not do this; use an API token.")
    run_id = path.get("run_id")
    if run_id is not None and run_id != principal.id:
        # What is not its own is, for a run, not there.
        raise NotFound(f"There is no run {run_id!r}; a run's token is good for its own run only.")


def _check_in_workspace(need: Need, principal: Principal, workspace: str) -> None:
    entered = principal.entered
    if entered is None or entered.name != workspace:
        raise NotFound(f"There is no workspace {workspace!r}.")
    if need.creates and not entered.exists:
        if not may(principal, "workspaces.create"):
            raise PermissionMissing("workspaces.create", "of this installation")
        return
    if principal.is_admin and principal.scope.is_whole:
        return  # whether the workspace is there, the route finds out
    if not entered.exists or not entered.permissions:
        raise NotFound(f"There is no workspace {workspace!r}.")
    if need.permission not in entered.permissions:
        raise PermissionMissing(need.permission, f"in the workspace {workspace!r}")
