"""From what a provider says of somebody to a user here."""

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.oidc import SignInRefused
from app.kernel.config import Settings
from app.kernel.errors import Forbidden
from app.kernel.ids import new_id
from app.tables.sign_in import UsedNonce
from app.tables.user import Group, GroupMember, User

_NAME = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}$")
_MOST_GROUPS = 1000


class NotAUserHere(Forbidden):
    """The provider knows who it is, and this installation does not let them in."""

    code = "not_a_user_here"


async def use_nonce(session: AsyncSession, nonce: str) -> None:
    """Take a nonce once.

    Raises:
        SignInRefused: it was taken before.
    """
    await session.execute(
        delete(UsedNonce).where(UsedNonce.created_at < func.clock_timestamp() - timedelta(days=1))
    )
    digest = hashlib.sha256(nonce.encode()).hexdigest()
    statement = insert(UsedNonce).values(nonce_sha256=digest).on_conflict_do_nothing()
    taken = await session.execute(statement.returning(UsedNonce.nonce_sha256))
    if taken.first() is None:
        raise SignInRefused("This sign-in was used before; sign in again.")


async def user_of(session: AsyncSession, settings: Settings, claims: Mapping[str, Any]) -> User:
    """The user whom a provider's claims are about, made where the settings allow it.

    Groups and administration follow the claims.

    Raises:
        NotAUserHere: there is no such user, or it is disabled, or its name is another one's.
    """
    subject = str(claims["sub"])
    known = (User.issuer == settings.oidc_issuer) & (User.subject == subject)
    row = (await session.execute(select(User).where(known))).scalar_one_or_none()
    if row is None:
        await _create(session, settings, claims, subject)
        row = (await session.execute(select(User).where(known))).scalar_one_or_none()
    if row is None:
        raise NotAUserHere(
            "Another user has this name already; an administrator may make a user with this "
            "subject of the provider's."
        )
    if row.disabled_at is not None:
        raise NotAUserHere("This user is disabled; an administrator may change that.")
    await follow(session, settings, row, claims)
    return row


async def follow(
    session: AsyncSession, settings: Settings, row: User, claims: Mapping[str, Any]
) -> None:
    """Bring groups and administration of a user to what the claims say."""
    wanted = groups_of(settings, claims)
    if wanted is None:
        return
    if settings.oidc_admin_groups:
        row.is_admin = bool(wanted & set(settings.oidc_admin_groups))
    given = (GroupMember.user_id == row.id) & GroupMember.from_provider
    ids = select(Group.id).where(Group.name.in_(wanted))
    await session.execute(delete(GroupMember).where(given, GroupMember.group_id.not_in(ids)))
    for group_id in (await session.execute(ids)).scalars():
        statement = insert(GroupMember).values(
            group_id=group_id, user_id=row.id, from_provider=True
        )
        await session.execute(statement.on_conflict_do_nothing())
    await session.flush()


def groups_of(settings: Settings, claims: Mapping[str, Any]) -> frozenset[str] | None:
    """The groups that claims name; None: they say nothing of groups."""
    found = claims.get(settings.oidc_groups_claim)
    if not isinstance(found, list):
        return None
    return frozenset(name for name in found[:_MOST_GROUPS] if isinstance(name, str))


async def _create(
    session: AsyncSession, settings: Settings, claims: Mapping[str, Any], subject: str
) -> None:
    if not settings.oidc_create_users:
        raise NotAUserHere(
            "You are no user here; ask an administrator to make one for this subject of the "
            f"provider's: {subject!r}."
        )
    # Whoever signs in twice at once is one user; a name of somebody else's is nobody's to take.
    statement = insert(User).values(
        id=new_id("usr"),
        name=_name(settings, claims, subject),
        display_name=str(claims.get("name", ""))[:200],
        email=str(claims.get("email", ""))[:320],
        issuer=settings.oidc_issuer,
        subject=subject,
    )
    await session.execute(statement.on_conflict_do_nothing())


def _name(settings: Settings, claims: Mapping[str, Any], subject: str) -> str:
    for claim in (settings.oidc_username_claim, "email"):
        value = claims.get(claim)
        if isinstance(value, str) and _NAME.match(value):
            return value
    digest = hashlib.sha256(f"{settings.oidc_issuer} {subject}".encode()).hexdigest()
    return f"user-{digest[:16]}"
