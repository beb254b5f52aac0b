"""The workspace in the path, for callers who may enter it."""

from typing import Annotated

from fastapi import Depends, Path
from sqlalchemy import bindparam, select

from app.auth.access import AnyAccess
from app.auth.principal import Principal
from app.auth.shortcuts import Asked, NotPlain
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.direct import Statement
from app.kernel.errors import Forbidden, NotFound
from app.kernel.names import WORKSPACE_PATTERN
from app.tables.workspace import Workspace
from app.workspaces import repository


async def _workspace(
    workspace: Annotated[str, Path(pattern=WORKSPACE_PATTERN)],
    session: SessionDep,
    principal: AnyAccess,
) -> Workspace:
    row = await repository.get(session, workspace)
    check_workspace(principal, row)
    return row


def check_workspace(principal: Principal, workspace: Workspace) -> None:
    """Let a run or node see its own workspace only, and a deployment key none.

    A deployment key has not been checked here; the routes that take one check it themselves.

    Raises:
        Forbidden: it is a deployment key, or a token for discovery.
        NotFound: it belongs to another workspace; it learns nothing more than that.
    """
    if principal.kind not in ("user", "run", "node"):
        raise Forbidden(f"A {principal.kind} key may not do this; use an API token.")
    if principal.workspace_id and principal.workspace_id != workspace.id:
        raise NotFound(f"There is no workspace {workspace.name!r}.")


WorkspaceDep = Annotated[Workspace, Depends(_workspace, scope="function")]
"""The row of ``{workspace}`` in the path; 404 when there is none."""


_ID = Statement(select(Workspace.id).where(Workspace.name == bindparam("name")))


async def _workspace_id(
    workspace: Annotated[str, Path(pattern=WORKSPACE_PATTERN)],
    principal: AnyAccess,
    database: DatabaseDep,
) -> str:
    entered = principal.entered
    if entered is not None and entered.name == workspace:
        found = entered.id
    else:
        row = await database.direct.row(_ID, name=workspace)
        found = "" if row is None else row["id"]
    if not found or principal.workspace_id not in ("", found):
        raise NotFound(f"There is no workspace {workspace!r}.")
    return found


WorkspaceIdDep = Annotated[str, Depends(_workspace_id)]
"""Its id alone, for hot paths: that of a user's request is known, so it costs no round trip."""


def entered_workspace(asked: Asked) -> str:
    """The id of the workspace in the address of a user's plain request.

    Raises:
        NotPlain: it is no user's, or there is no such workspace.
    """
    principal = asked.principal
    entered = principal.entered
    if principal.kind != "user" or entered is None or not entered.id:
        raise NotPlain
    return entered.id
