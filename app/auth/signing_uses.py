"""Which of the signing keys are still needed, and by what."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.signing import RUN_TOKEN_SECONDS
from app.auth.signing_keys import SigningKey
from app.kernel.clock import utc_now
from app.tables.deployment import Deployment, Replica
from app.tables.workspace import Workspace


@dataclass(frozen=True)
class KeyUse:
    """A signing key, and what needs it.

    Attributes:
        key: the key.
        is_needed: whether something that it signed may still be good.
        words: what that is, for people.
    """

    key: SigningKey
    is_needed: bool
    words: str


async def uses(session: AsyncSession, keys: Sequence[SigningKey]) -> list[KeyUse]:
    """What each key is needed for.

    A key is needed until the longest token has ended that it may have signed, and as long as
    something is there that was derived from it. The oldest goes first: what was made before all
    keys that are left is derived from the oldest of them.

    Args:
        session: a transaction to read in.
        keys: oldest first.
    """
    found = []
    is_kept = False
    for key, following in itertools.pairwise(keys):
        use = await _use(session, key, following)
        is_kept = is_kept or use.is_needed
        words = use.words or (
            "needed until the one before it goes" if is_kept else "needed no more"
        )
        found.append(KeyUse(key, is_kept, words))
    return [*found, KeyUse(keys[-1], is_needed=True, words="signs")]


async def _use(session: AsyncSession, key: SigningKey, following: SigningKey) -> KeyUse:
    ended = following.signs_from + timedelta(seconds=RUN_TOKEN_SECONDS)
    words = []
    if ended > utc_now():
        words.append(f"needed until {ended.isoformat(timespec='seconds')}, for tokens")
    deployed = (
        select(Workspace.name, Deployment.name)
        .join(Workspace, Workspace.id == Deployment.workspace_id)
        .outerjoin(Replica, (Replica.deployment_id == Deployment.id) & ~Replica.removed)
        .group_by(Workspace.name, Deployment.name)
        .having(
            func.min(
                func.least(
                    Deployment.primary_key_at, Deployment.secondary_key_at, Replica.created_at
                )
            )
            < following.signs_from
        )
        .order_by(Workspace.name, Deployment.name)
    )
    names = [f"{workspace}/{name}" for workspace, name in await session.execute(deployed)]
    if names:
        words.append(f"needed for keys or replicas of {', '.join(names)}")
    return KeyUse(key, is_needed=bool(words), words="; ".join(words))
