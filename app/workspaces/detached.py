"""The workspace in the path, for routes that stream: no session stays open behind it."""

from typing import Annotated

from fastapi import Depends, Path

from app.auth.access import AnyAccess
from app.kernel.db import DatabaseDep
from app.kernel.names import WORKSPACE_PATTERN
from app.tables.workspace import Workspace
from app.workspaces import repository
from app.workspaces.access import check_workspace


async def _detached(
    workspace: Annotated[str, Path(pattern=WORKSPACE_PATTERN)],
    database: DatabaseDep,
    principal: AnyAccess,
) -> Workspace:
    async with database.session() as session:
        row = await repository.get(session, workspace)
    check_workspace(principal, row)
    return row


DetachedWorkspaceDep = Annotated[Workspace, Depends(_detached)]
"""As `WorkspaceDep`, but a slow upload or download holds no database connection."""
