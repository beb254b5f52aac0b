"""Mounted inputs of nodes that are containers: which volume holds which content on which host."""

import posixpath
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.ids import new_id
from app.kernel.wake import wake
from app.tables.dataset import DatasetVersion
from app.tables.input_volume import InputVolume

_FOLDER = "/mnt/inputs"
_OPEN = ("/mnt/", "/data/", "/media/", "/srv/")
"""Where a script may ask for an input: folders that programs of an image do not live in."""
_RETRY_FAILED_SECONDS = 600.0
BUSY_SECONDS = 600.0
"""What was used so lately may be about to be mounted by somebody who was told that it is there."""


def mount_folder(name: str, path_on_compute: str | None) -> str:
    """Where a container has a mounted input.

    Args:
        name: of the input.
        path_on_compute: where the run wants it; elsewhere than in an open place the runner makes
            a link there.
    """
    wanted = posixpath.normpath(path_on_compute or "")
    return wanted if wanted.startswith(_OPEN) else f"{_FOLDER}/{name}"


@dataclass(frozen=True)
class Used:
    """A volume as eviction sees it.

    Attributes:
        id: of its row.
        size_bytes: of its content.
        idle_seconds: since it was last mounted.
    """

    id: str
    size_bytes: int
    idle_seconds: float


def evictable(volumes: Sequence[Used], *, max_bytes: int, keep_seconds: float) -> list[str]:
    """Which volumes of a host have to go: those idle for long, and the longest idle beyond a size.

    Args:
        volumes: all that are ready, of one host.
        max_bytes: how much may stay.
        keep_seconds: how long one may be idle.
    """
    gone = []
    kept_bytes = sum(volume.size_bytes for volume in volumes)
    for volume in sorted(volumes, key=lambda volume: -volume.idle_seconds):
        is_over = kept_bytes > max_bytes or volume.idle_seconds > keep_seconds
        if is_over and volume.idle_seconds > BUSY_SECONDS:
            gone.append(volume.id)
            kept_bytes -= volume.size_bytes
    return gone


async def want(
    session: AsyncSession, version: DatasetVersion, *, host: str, image: str
) -> InputVolume:
    """The volume with a version's content on a host; if there is none it is asked for.

    Locks the row. One that is ready counts as used now.
    """
    new = {
        "id": new_id("tw-data"),
        "host": host,
        "fingerprint": version.fingerprint,
        "version_id": version.id,
        "image": image,
        "size_bytes": version.size_bytes,
    }
    made = insert(InputVolume).values(new).on_conflict_do_nothing().returning(InputVolume.id)
    if (made_id := (await session.execute(made)).scalar_one_or_none()) is not None:
        await wake(session, InputVolume, made_id)
    statement = select(InputVolume).where(
        InputVolume.host == host, InputVolume.fingerprint == version.fingerprint
    )
    row = (await session.execute(statement.with_for_update())).scalar_one()
    if row.state == "Ready":
        row.last_used_at = func.clock_timestamp()
    elif row.state == "Failed":
        is_old = await _age_seconds(session, row.id) > _RETRY_FAILED_SECONDS
        if is_old or row.image != image:
            await refill(session, row.id, image=image)
            await session.refresh(row)
    return row


async def refill(session: AsyncSession, volume_id: str, *, image: str | None = None) -> None:
    """Have a volume filled again."""
    values = {"state": "Wanted", "error": None} | ({"image": image} if image else {})
    await session.execute(update(InputVolume).where(InputVolume.id == volume_id).values(values))
    await wake(session, InputVolume, volume_id)


async def evict(session: AsyncSession, *, max_bytes: int, keep_seconds: float) -> None:
    """Let those volumes go that have to; the reconciler removes them.

    Args:
        session: a transaction of its own.
        max_bytes: how much a host may keep.
        keep_seconds: how long an unused one is kept.
    """
    idle = func.extract("epoch", func.clock_timestamp() - InputVolume.last_used_at)
    statement = select(InputVolume.host, InputVolume.id, InputVolume.size_bytes, idle)
    hosts: dict[str, list[Used]] = {}
    for host, row_id, size_bytes, seconds in await session.execute(
        statement.where(InputVolume.state == "Ready")
    ):
        hosts.setdefault(host, []).append(Used(row_id, size_bytes, float(seconds)))
    for volumes in hosts.values():
        for row_id in evictable(volumes, max_bytes=max_bytes, keep_seconds=keep_seconds):
            # Used since it was looked at: it stays.
            is_idle = InputVolume.last_used_at < _ago(BUSY_SECONDS)
            named = update(InputVolume).where(InputVolume.id == row_id, is_idle)
            await session.execute(named.values(state="Leaving"))
            await wake(session, InputVolume, row_id)


async def _age_seconds(session: AsyncSession, row_id: str) -> float:
    age = func.extract("epoch", func.clock_timestamp() - InputVolume.updated_at)
    return float((await session.execute(select(age).where(InputVolume.id == row_id))).scalar_one())


def _ago(seconds: float) -> object:
    return func.clock_timestamp() - timedelta(seconds=seconds)
