"""Queries about datastores."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Row, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.datastores.errors import DatastoreNotFound
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.datastore import Datastore


async def find(session: AsyncSession, workspace_id: str, name: str) -> Datastore | None:
    """The datastore of this name, if there is one."""
    statement = select(Datastore).where(
        Datastore.workspace_id == workspace_id, Datastore.name == name
    )
    statement = statement.execution_options(populate_existing=True)
    return (await session.execute(statement)).scalar_one_or_none()


async def get(session: AsyncSession, workspace_id: str, name: str | None) -> Datastore:
    """The datastore of this name; None: the default one.

    Raises:
        DatastoreNotFound: there is none.
    """
    if name is not None:
        row = await find(session, workspace_id, name)
        if row is None:
            raise DatastoreNotFound(f"There is no datastore {name!r} in this workspace.")
        return row
    statement = select(Datastore).where(
        Datastore.workspace_id == workspace_id, Datastore.is_default
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise DatastoreNotFound("This workspace has no default datastore; name one.")
    return row


async def list_page(
    session: AsyncSession, workspace_id: str, page: PageQuery
) -> tuple[list[Datastore], str]:
    """Datastores by name."""
    return await fetch_page(
        session,
        select(Datastore).where(Datastore.workspace_id == workspace_id),
        keys=[Datastore.name],
        page=page,
        key_of=lambda row: [row.name],
    )


async def unset_default(session: AsyncSession, workspace_id: str, *, but: str) -> None:
    """Take the mark from the others."""
    others = update(Datastore).where(
        Datastore.workspace_id == workspace_id, Datastore.is_default, Datastore.name != but
    )
    await session.execute(others.values(is_default=False))


async def folder_places(session: AsyncSession) -> Sequence[Row[Any]]:
    """Where the datastores that are folders are: each place once, with the id of one of them."""
    is_folder = Datastore.place["kind"].as_string() == "folder"
    statement = select(func.min(Datastore.id).label("id"), Datastore.place)
    return (await session.execute(statement.where(is_folder).group_by(Datastore.place))).all()
