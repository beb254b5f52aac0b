"""Queries about workspaces."""

from sqlalchemy import literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.assignments import sees_workspace
from app.auth.principal import Principal
from app.kernel.errors import NotFound
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.cluster import Cluster
from app.tables.dataset import Dataset
from app.tables.deployment import Deployment
from app.tables.experiment import Experiment
from app.tables.model import Model
from app.tables.tracking import WorkspaceArtifact
from app.tables.workspace import Workspace


async def find(session: AsyncSession, name: str) -> Workspace | None:
    """The workspace of this name, if there is one."""
    statement = select(Workspace).where(Workspace.name == name)
    return (await session.execute(statement)).scalar_one_or_none()


async def get(session: AsyncSession, name: str) -> Workspace:
    """The workspace of this name.

    Raises:
        NotFound: there is none.
    """
    row = await find(session, name)
    if row is None:
        raise NotFound(f"There is no workspace {name!r}.")
    return row


async def list_page(
    session: AsyncSession, page: PageQuery, *, seen_by: Principal
) -> tuple[list[Workspace], str]:
    """Workspaces that somebody may see, by name."""
    return await fetch_page(
        session,
        select(Workspace).where(sees_workspace(seen_by)),
        keys=[Workspace.name],
        page=page,
        key_of=lambda row: [row.name],
    )


async def holds_anything(session: AsyncSession, workspace_id: str) -> bool:
    """Whether something lives in the workspace that deleting it would destroy."""
    for table in (Cluster, Deployment, Model, Dataset, Experiment, WorkspaceArtifact):
        statement = select(literal(1)).where(table.workspace_id == workspace_id).limit(1)
        if (await session.execute(statement)).first() is not None:
            return True
    return False
