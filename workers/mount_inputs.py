"""Sees to it that what a run mounts is on the hosts of its nodes before they start."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from sqlalchemy.ext.asyncio import AsyncSession

from app.providers.base import InputMount, KeepsInputs
from app.runs import input_volumes
from app.runs.blockers import blocker
from app.runs.states import BlockerCode
from app.runs.transitions import add_event, lock_run
from app.runs.waiting import set_blockers
from app.tables.dataset import DatasetVersion
from app.tables.image import Image
from app.tables.run import Run
from workers.context import WorkerContext
from workers.reconciler import Guard

_CODE = BlockerCode.INPUTS_CACHING


@dataclass
class Mounts:
    """What nodes mount.

    Attributes:
        by_host: mounts of the nodes on a host.
        downloaded: why an input is downloaded instead, by its name.
        waiting: inputs that are not there yet, with what is known.
    """

    by_host: dict[str, tuple[InputMount, ...]] = field(default_factory=dict)
    downloaded: dict[str, str] = field(default_factory=dict)
    waiting: dict[str, str] = field(default_factory=dict)


class InputMounts:
    """Asks for volumes and finds those that are there."""

    def __init__(self, context: WorkerContext) -> None:
        self._database = context.database
        self._max_bytes = context.settings.input_cache_bytes
        self._is_possible = isinstance(context.provider, KeepsInputs) and self._max_bytes > 0

    async def find(self, guard: Guard, run: Run, hosts: Iterable[str]) -> Mounts:
        """What the nodes of a run's attempt mount; the run says what it waits for."""
        found = Mounts()
        wanted = {n: v for n, v in run.request["inputs"].items() if v["mode"] == "mount"}
        if not self._is_possible or not wanted:
            return found
        async with self._database.session() as session:
            await guard.check(session)
            row = await lock_run(session, run.id)
            image = await session.get_one(Image, run.image_id)
            for host in sorted(set(hosts)):
                mounts = []
                for name, value in wanted.items():
                    version = await session.get_one(DatasetVersion, value["version_id"])
                    volume = await self._volume(session, version, host, image, name, found)
                    if volume is not None:
                        folder = input_volumes.mount_folder(name, value["path_on_compute"])
                        mounts.append(InputMount(volume, folder))
                found.by_host[host] = tuple(mounts)
            self._show(session, row, found)
        return found

    async def refill(self, guard: Guard, volume: str) -> None:
        """Have a volume filled again that somebody has removed."""
        async with self._database.session() as session:
            await guard.check(session)
            await input_volumes.refill(session, volume)

    def note_downloads(self, session: AsyncSession, run: Run, found: Mounts) -> None:
        """Write on a locked run which inputs are not mounted, and why."""
        for name, reason in found.downloaded.items():
            data = {"input": name}
            add_event(
                session, run, kind="input_downloaded", actor="worker", reason=reason, data=data
            )

    async def _volume(
        self,
        session: AsyncSession,
        version: DatasetVersion,
        host: str,
        image: Image,
        name: str,
        found: Mounts,
    ) -> str | None:
        if version.size_bytes > self._max_bytes:
            found.downloaded[name] = (
                f"It has {version.size_bytes} bytes, more than TRAINWRIGHT_INPUT_CACHE_BYTES."
            )
            return None
        volume = await input_volumes.want(
            session, version, host=host, image=image.reference or image.id
        )
        if volume.state == "Ready":
            return volume.id
        if volume.state == "Failed":
            found.downloaded[name] = f"It cannot be kept on the host: {volume.error}"
            return None
        found.waiting[name] = volume.error or ""
        return None

    def _show(self, session: AsyncSession, run: Run, found: Mounts) -> None:
        others = [each for each in run.blockers if each["code"] != _CODE]
        waiting = [
            blocker(_CODE, f"input {name}", "it is on the node's host", detail=detail)
            for name, detail in found.waiting.items()
        ]
        set_blockers(session, run, [*others, *waiting])
