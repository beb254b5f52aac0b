"""Queries about secrets."""

from collections.abc import Sequence

from sqlalchemy import delete, func, select, tuple_
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from app.kernel.errors import Conflict
from app.kernel.ids import new_id
from app.kernel.pagination import PageQuery, fetch_page
from app.secrets.errors import SecretNotFound
from app.tables.secret import Secret, SecretVersion

_ROTATION_LOCK = 0x7457_5EC2
"""Writers of values share it; who adds a key holds it alone."""


async def let_no_key_be_added(session: AsyncSession | AsyncConnection) -> None:
    """Until the end of the transaction: what is encrypted in it is found by a rotation."""
    await session.execute(select(func.pg_advisory_xact_lock_shared(_ROTATION_LOCK)))


async def let_nobody_encrypt(session: AsyncSession) -> None:
    """Until the end of the transaction; all who were encrypting have committed before."""
    await session.execute(select(func.pg_advisory_xact_lock(_ROTATION_LOCK)))


async def find(session: AsyncSession, workspace_id: str, scope: str, name: str) -> Secret | None:
    """The secret of this name, if there is one."""
    statement = select(Secret).where(
        Secret.workspace_id == workspace_id, Secret.scope == scope, Secret.name == name
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def get(session: AsyncSession, workspace_id: str, scope: str, name: str) -> Secret:
    """The secret of this name.

    Raises:
        SecretNotFound: there is none.
    """
    row = await find(session, workspace_id, scope, name)
    if row is None:
        raise SecretNotFound(f"There is no secret {name!r} in this workspace.")
    return row


async def get_or_create(
    session: AsyncSession, workspace_id: str, scope: str, name: str
) -> tuple[Secret, bool]:
    """The secret of this name, locked; made, without a version, if there is none.

    Returns:
        The row, and whether it was made now.

    Raises:
        Conflict: it was deleted at this very moment.
    """
    made = (
        insert(Secret)
        .values(id=new_id("sec"), workspace_id=workspace_id, scope=scope, name=name, version=0)
        .on_conflict_do_nothing(index_elements=["workspace_id", "scope", "name"])
        .returning(Secret.id)
    )
    is_new = (await session.execute(made)).scalar_one_or_none() is not None
    found = (
        select(Secret)
        .where(Secret.workspace_id == workspace_id, Secret.scope == scope, Secret.name == name)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    row = (await session.execute(found)).scalar_one_or_none()
    if row is None:
        raise Conflict(f"Secret {name!r} has just been deleted; repeat the call.")
    return row, is_new


async def count(session: AsyncSession, workspace_id: str, scope: str) -> int:
    """How many secrets there are."""
    statement = select(func.count()).where(
        Secret.workspace_id == workspace_id, Secret.scope == scope
    )
    return (await session.execute(statement)).scalar_one()


async def list_page(
    session: AsyncSession, workspace_id: str, page: PageQuery
) -> tuple[list[Secret], str]:
    """The users' secrets of a workspace by name."""
    return await fetch_page(
        session,
        select(Secret).where(Secret.workspace_id == workspace_id, Secret.scope == ""),
        keys=[Secret.name],
        page=page,
        key_of=lambda row: [row.name],
    )


async def list_scope(session: AsyncSession, workspace_id: str, scope: str) -> list[Secret]:
    """The secrets of another domain's thing."""
    statement = select(Secret).where(Secret.workspace_id == workspace_id, Secret.scope == scope)
    return list((await session.execute(statement)).scalars())


async def versions(session: AsyncSession, secret_id: str) -> list[SecretVersion]:
    """The versions that are kept, newest first."""
    statement = (
        select(SecretVersion)
        .where(SecretVersion.secret_id == secret_id)
        .order_by(SecretVersion.version.desc())
    )
    return list((await session.execute(statement)).scalars())


async def find_version(session: AsyncSession, secret_id: str, version: int) -> SecretVersion | None:
    """A version, if it is kept."""
    return await session.get(SecretVersion, (secret_id, version), populate_existing=True)


async def drop_versions(session: AsyncSession, secret_id: str, *, up_to: int) -> None:
    """Delete the oldest versions."""
    await session.execute(
        delete(SecretVersion).where(
            SecretVersion.secret_id == secret_id, SecretVersion.version <= up_to
        )
    )


async def delete_scope(session: AsyncSession, workspace_id: str, scope: str) -> None:
    """Delete all secrets of a scope."""
    await session.execute(
        delete(Secret).where(Secret.workspace_id == workspace_id, Secret.scope == scope)
    )


async def lock_under_other_keys(
    session: AsyncSession, key_id: str, *, after: tuple[str, int], limit: int
) -> Sequence[tuple[SecretVersion, str]]:
    """Some versions after one that are not encrypted with a key, locked, with their workspaces."""
    statement = (
        select(SecretVersion, Secret.workspace_id)
        .join(Secret, Secret.id == SecretVersion.secret_id)
        .where(
            SecretVersion.key_id != key_id,
            tuple_(SecretVersion.secret_id, SecretVersion.version) > tuple_(*after),
        )
        .order_by(SecretVersion.secret_id, SecretVersion.version)
        .limit(limit)
        .with_for_update(of=SecretVersion)
    )
    return [(row, workspace_id) for row, workspace_id in await session.execute(statement)]


async def key_ids(session: AsyncSession) -> set[str]:
    """Ids of all keys that something is encrypted with."""
    return set((await session.execute(select(SecretVersion.key_id).distinct())).scalars())
