"""Users and service accounts."""

from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import func, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.service import ADMIN_ID
from app.identity.errors import (
    AdministratorNeeded,
    NameTaken,
    ServiceAccountNotFound,
    UserNotFound,
)
from app.kernel.ids import new_id
from app.kernel.pagination import PageQuery, fetch_page
from app.planning.quotas import forget_owner
from app.tables.user import User

Kind = Literal["user", "service_account"]


async def list_page(
    session: AsyncSession, page: PageQuery, *, kind: Kind
) -> tuple[list[User], str]:
    """Users of a kind by name."""
    return await fetch_page(
        session,
        select(User).where(User.kind == kind),
        keys=[User.name],
        page=page,
        key_of=lambda row: [row.name],
    )


async def find(session: AsyncSession, name: str) -> User | None:
    """The user or service account of this name, if there is one."""
    return (await session.execute(select(User).where(User.name == name))).scalar_one_or_none()


async def get(session: AsyncSession, name: str, *, kind: Kind | None = None) -> User:
    """The user of this name.

    Raises:
        UserNotFound: there is none of this kind.
    """
    row = await find(session, name)
    if row is None or (kind is not None and row.kind != kind):
        raise ServiceAccountNotFound(name) if kind == "service_account" else UserNotFound(name)
    return row


async def create(session: AsyncSession, *, kind: Kind, fields: Mapping[str, Any]) -> User:
    """Make a user or a service account.

    Raises:
        NameTaken: there is one of this name, of either kind.
    """
    row = User(id=new_id("usr" if kind == "user" else "sa"), kind=kind, **fields)
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        name = fields["name"]
        raise NameTaken(f"A user or service account {name!r} exists already.") from error
    await session.refresh(row)
    return row


async def update(session: AsyncSession, row: User, changes: Mapping[str, Any]) -> User:
    """Change what is named; a user who is disabled is refused from now on.

    Raises:
        AdministratorNeeded: it would be without its administrator.
    """
    if row.id == ADMIN_ID and (changes.get("disabled") or changes.get("is_admin") is False):
        raise AdministratorNeeded
    for field, value in changes.items():
        if field != "disabled":
            setattr(row, field, value)
        elif not value:
            row.disabled_at = None
        elif row.disabled_at is None:
            row.disabled_at = func.clock_timestamp()
    await session.flush()
    await session.refresh(row)
    return row


async def delete(session: AsyncSession, row: User) -> None:
    """Delete a user with their tokens and roles; what they made stays.

    Raises:
        AdministratorNeeded: it is the installation's own.
    """
    if row.id == ADMIN_ID:
        raise AdministratorNeeded
    await forget_owner(session, "user", row.name)
    await session.delete(row)
