"""Quotas: rows that the planner reads."""

from typing import Any, cast

from sqlalchemy import Select, func, select
from sqlalchemy import delete as delete_rows
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.errors import NotFound
from app.kernel.pagination import PageQuery, fetch_page
from app.planning.schemas import QuotaKind, QuotaPut, QuotaRead
from app.planning.service import wake_planner
from app.tables.planning import Quota
from app.tables.user import User
from app.tables.workspace import Workspace


class OwnerNotFound(NotFound):
    """There is no such workspace or user."""

    code = "quota_owner_not_found"


class QuotaNotFound(NotFound):
    """Nobody has set one."""

    code = "quota_not_found"


async def list_page(session: AsyncSession, page: PageQuery) -> tuple[list[QuotaRead], str]:
    """Those that are set, by kind and name."""
    owner = func.coalesce(Workspace.name, Quota.owner_id)
    is_gone = Workspace.id.is_(None) & User.id.is_(None)
    statement = (
        select(Quota, owner, is_gone)
        .outerjoin(Workspace, (Quota.kind == "workspace") & (Workspace.id == Quota.owner_id))
        .outerjoin(User, (Quota.kind == "user") & (User.name == Quota.owner_id))
    )
    rows: list[Any]
    rows, following = await fetch_page(
        session,
        cast("Select[Any]", statement),
        keys=[Quota.kind, owner],
        page=page,
        key_of=lambda row: [row[0].kind, row[1]],
        scalars=False,
    )
    return [_read(row, name, is_gone=gone) for row, name, gone in rows], following


async def find(session: AsyncSession, kind: QuotaKind, owner: str) -> QuotaRead | None:
    """The quota of a workspace or user; None: no such owner, or none is set."""
    try:
        return await get(session, kind, owner)
    except (OwnerNotFound, QuotaNotFound):
        return None


async def get(session: AsyncSession, kind: QuotaKind, owner: str) -> QuotaRead:
    """The quota of a workspace or user, or one that was left by an owner who was deleted.

    Raises:
        OwnerNotFound: there is nobody of this name.
        QuotaNotFound: none is set.
    """
    row, is_gone = await _row(session, kind, owner)
    if row is None:
        raise QuotaNotFound(f"No quota is set for {kind} {owner!r}.")
    return _read(row, owner, is_gone=is_gone)


async def put(
    session: AsyncSession, kind: QuotaKind, owner: str, body: QuotaPut
) -> tuple[QuotaRead, bool]:
    """Set a quota; what runs already goes on, whatever the new limits are.

    Returns:
        The quota and whether it is new.

    Raises:
        OwnerNotFound: there is nobody of this name.
    """
    owner_id = await _owner_id(session, kind, owner)
    row = await session.get(Quota, (kind, owner_id))
    is_new = row is None
    if row is None:
        row = Quota(kind=kind, owner_id=owner_id)
        session.add(row)
    for name, value in body.model_dump().items():
        setattr(row, name, value)
    await session.flush()
    await session.refresh(row)
    await wake_planner(session)
    return _read(row, owner, is_gone=False), is_new


async def delete(session: AsyncSession, kind: QuotaKind, owner: str) -> None:
    """Lift a quota, if one is set.

    Raises:
        OwnerNotFound: there is nobody of this name, and nobody of this name has left one.
    """
    row, _ = await _row(session, kind, owner)
    if row is None:
        return
    await session.delete(row)
    await session.flush()
    await wake_planner(session)


async def forget_owner(session: AsyncSession, kind: QuotaKind, owner_id: str) -> None:
    """Remove the quota of a workspace or a user who goes, if there is one."""
    await session.execute(delete_rows(Quota).where(Quota.kind == kind, Quota.owner_id == owner_id))


async def _row(session: AsyncSession, kind: QuotaKind, owner: str) -> tuple[Quota | None, bool]:
    """A quota, and whether its owner is gone, whom the list names as the row does."""
    try:
        return await session.get(Quota, (kind, await _owner_id(session, kind, owner))), False
    except OwnerNotFound:
        # The id of a workspace that is there is no name of it.
        if kind == "workspace" and await session.get(Workspace, owner) is not None:
            raise
        left = await session.get(Quota, (kind, owner))
        if left is None:
            raise
        return left, True


async def _owner_id(session: AsyncSession, kind: QuotaKind, owner: str) -> str:
    # Runs name their user, not an id: what they were submitted as is what counts.
    found = await session.scalar(
        select(Workspace.id).where(Workspace.name == owner)
        if kind == "workspace"
        else select(User.name).where(User.name == owner)
    )
    if found is None:
        raise OwnerNotFound(f"There is no {kind} {owner!r}.")
    return found


def _read(row: Quota, owner: str, *, is_gone: bool) -> QuotaRead:
    return QuotaRead(
        kind=row.kind,
        owner=owner,
        is_owner_gone=is_gone,
        runs=row.runs,
        nodes=row.nodes,
        cores=row.cores,
        gpus=row.gpus,
        share=row.share,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
