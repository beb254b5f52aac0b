"""Groups and who is in them."""

from typing import Any, cast

from sqlalchemy import Select, delete, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession

from app.identity.errors import GroupNotFound, NameTaken
from app.identity.schemas import GroupCreate, GroupMemberRead
from app.kernel.ids import new_id
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.user import Group, GroupMember, User


async def list_page(session: AsyncSession, page: PageQuery) -> tuple[list[Group], str]:
    """Groups by name."""
    return await fetch_page(
        session, select(Group), keys=[Group.name], page=page, key_of=lambda row: [row.name]
    )


async def find(session: AsyncSession, name: str) -> Group | None:
    """The group of this name, if there is one."""
    return (await session.execute(select(Group).where(Group.name == name))).scalar_one_or_none()


async def get(session: AsyncSession, name: str) -> Group:
    """The group of this name.

    Raises:
        GroupNotFound: there is none.
    """
    row = await find(session, name)
    if row is None:
        raise GroupNotFound(name)
    return row


async def create(session: AsyncSession, body: GroupCreate) -> Group:
    """Make a group without members.

    Raises:
        NameTaken: there is one of this name.
    """
    row = Group(id=new_id("grp"), name=body.name, description=body.description)
    session.add(row)
    try:
        await session.flush()
    except IntegrityError as error:
        raise NameTaken(f"A group {body.name!r} exists already.") from error
    await session.refresh(row)
    return row


async def members_page(
    session: AsyncSession, group: Group, page: PageQuery
) -> tuple[list[GroupMemberRead], str]:
    """Who is in a group, by name."""
    statement = (
        select(User.id, User.kind, User.name, GroupMember.from_provider)
        .join(GroupMember, GroupMember.user_id == User.id)
        .where(GroupMember.group_id == group.id)
    )
    rows: list[Any]
    rows, following = await fetch_page(
        session,
        cast("Select[Any]", statement),
        keys=[User.name],
        page=page,
        key_of=lambda row: [row.name],
        scalars=False,
    )
    return [GroupMemberRead.model_validate(row) for row in rows], following


async def add_member(session: AsyncSession, group: Group, user: User) -> None:
    """Put a user into a group by hand; a sign-in does not take that back."""
    statement = insert(GroupMember).values(group_id=group.id, user_id=user.id)
    await session.execute(
        statement.on_conflict_do_update(
            index_elements=["group_id", "user_id"], set_={"from_provider": False}
        )
    )


async def remove_member(session: AsyncSession, group: Group, user: User) -> None:
    """Take a user out of a group; nothing happens when they are not in it."""
    await session.execute(
        delete(GroupMember).where(GroupMember.group_id == group.id, GroupMember.user_id == user.id)
    )
