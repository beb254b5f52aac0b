"""Starts the nodes of an attempt."""

import asyncio
from dataclasses import replace

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.kernel.crash_points import CrashPoint, reached
from app.providers.base import (
    HostLost,
    HostState,
    ImageMissing,
    NodeRefused,
    NodeSpec,
    ProviderError,
    VolumeMissing,
)
from app.runs import attempts
from app.runs.attempts import network_name
from app.runs.gang import PEER_FAILED
from app.runs.shared_memory import shared_memory_bytes
from app.runs.transitions import lock_run
from app.tables.cluster import ClusterNode
from app.tables.image import Image
from app.tables.run import Run, RunNode
from workers.context import WorkerContext
from workers.failed_starts import FailedStarts
from workers.images_of_nodes import ImagesOfNodes
from workers.mount_inputs import InputMounts, Mounts
from workers.reconciler import Guard
from workers.run_health import RunHealth

_WATCH_SECONDS = 2.0
_INPUTS_LOOK_SECONDS = 0.3


class Launch:
    """From rows of nodes to nodes."""

    def __init__(self, context: WorkerContext, health: RunHealth) -> None:
        self._context = context
        self._database = context.database
        self._provider = context.provider
        self._images = ImagesOfNodes(context)
        self._health = health
        self._inputs = InputMounts(context)
        self._failed = FailedStarts(context)

    async def launch(self, guard: Guard, run: Run, nodes: list[RunNode]) -> float:
        """Start those that are not; says when to look again.

        A node that can never be started as asked for ends the attempt; so does one whose host is
        lost. One that cannot be started now is tried again, and at last elsewhere.

        Raises:
            ProviderError: the provider is away.
        """
        pause = await self._images.await_ready(guard, run)
        if pause is not None:
            return 0.0 if await self._has_lost_host(guard, run, nodes) else pause
        mounts = await self._inputs.find(guard, run, [node.host for node in nodes])
        if mounts.waiting:
            is_lost = await self._has_lost_host(guard, run, nodes)
            return 0.0 if is_lost else _INPUTS_LOOK_SECONDS
        # One that is not Assigned may have ended already, and is not to be started again.
        waiting = [node for node in nodes if node.state == "Assigned"]
        # All at once: each may have to fetch its image first.
        done = await asyncio.gather(
            *(self._start(run, node, mounts) for node in waiting), return_exceptions=True
        )
        pause = await self._settle(guard, run, list(zip(waiting, done, strict=True)))
        if pause is not None:
            return pause
        await self._note_launched(guard, run, mounts)
        await self._failed.forget(waiting)
        return _WATCH_SECONDS

    async def _settle(
        self, guard: Guard, run: Run, ended: list[tuple[RunNode, BaseException | None]]
    ) -> float | None:
        """See to the starts that failed; None when none did."""
        for node, error in ended:
            if isinstance(error, ImageMissing):
                return await self._images.replace(guard, run, error)
            if isinstance(error, VolumeMissing):
                await self._inputs.refill(guard, str(error))
                return _INPUTS_LOOK_SECONDS
            if isinstance(error, NodeRefused):
                await self._note_refusal(guard, run, node.name, str(error))
                return 0.0
            if error is not None and not isinstance(error, ProviderError):
                raise error
        if gone := [(node, error) for node, error in ended if isinstance(error, HostLost)]:
            indices = [node.node_index for node, _ in gone]
            await self._health.lose(guard, run, indices, f"cannot be started: {gone[0][1]}")
            return 0.0
        if failed := [(node, error) for node, error in ended if isinstance(error, ProviderError)]:
            return await self._failed.note(guard, run, failed)
        return None

    async def _has_lost_host(self, guard: Guard, run: Run, nodes: list[RunNode]) -> bool:
        """Whether what is waited for would come in vain: a host went down meanwhile."""
        hosts = await self._provider.hosts()
        down = {host.name: host.detail for host in hosts if host.state == HostState.DOWN}
        gone = [node for node in nodes if node.state == "Assigned" and node.host in down]
        if gone:
            what = f"cannot be started: host {gone[0].host} is down: {down[gone[0].host]}"
            await self._health.lose(guard, run, [node.node_index for node in gone], what)
        return bool(gone)

    async def _start(self, run: Run, node: RunNode, mounts: Mounts) -> None:
        spec = await self._spec(run, node)
        reached(CrashPoint.NODE_STARTING)
        await self._provider.ensure(replace(spec, inputs=mounts.by_host.get(node.host, ())))
        reached(CrashPoint.NODE_STARTED)

    async def _note_launched(self, guard: Guard, run: Run, mounts: Mounts) -> None:
        async with self._database.session() as session:
            nodes = await self._locked_nodes(guard, session, run)
            self._inputs.note_downloads(session, await lock_run(session, run.id), mounts)
            for node in nodes:
                # The runner may have been faster than this transaction.
                if node.state == "Assigned":
                    node.state = "Launched"
                    node.launched_at = func.clock_timestamp()

    async def _note_refusal(self, guard: Guard, run: Run, name: str, words: str) -> None:
        async with self._database.session() as session:
            for node in await self._locked_nodes(guard, session, run):
                if node.state in ("Finished", "Failed", "Lost"):
                    continue
                node.state = "Failed"
                node.result = {"reason": PEER_FAILED}
                if node.name == name:
                    node.result = {"failed": {"code": "node_start_failed", "message": words}}

    async def _locked_nodes(self, guard: Guard, session: AsyncSession, run: Run) -> list[RunNode]:
        await guard.check(session)
        await lock_run(session, run.id)
        return list(await attempts.nodes_of(session, run.id, run.attempt))

    async def _spec(self, run: Run, node: RunNode) -> NodeSpec:
        async with self._database.session() as session:
            place = await session.get(ClusterNode, node.cluster_node_id)
            image = await session.get(Image, run.image_id) if run.image_id else None
        principal = Principal(
            kind="node",
            id=node.name,
            name=node.name,
            workspace_id=run.workspace_id,
            attempt=node.attempt,
        )
        memory_bytes = place.memory_bytes if place else 0
        return NodeSpec(
            name=node.name,
            endpoint=self._context.settings.nodes_base_url,
            token=self._context.signer.issue(principal),
            cores=place.cores if place else 1.0,
            memory_bytes=memory_bytes,
            image=image.reference if image else None,
            gpus=place.gpus if place else 0,
            gpu_ids=tuple(place.gpu_ids) if place else (),
            shared_memory_bytes=shared_memory_bytes(run.request, memory_bytes=memory_bytes),
            network=network_name(run.id, run.attempt),
            host=node.host,
        )
