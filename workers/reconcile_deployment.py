"""Moves a deployment towards its desired state: replicas up, crashed ones again, old ones away."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, func, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.blobs import repository as blobs
from app.deployments import loads, repository
from app.deployments.decide import (
    DRAINING,
    KEPT_STARTS,
    LIVE_STATES,
    LOST,
    Plan,
    ReplicaView,
    State,
    View,
    decide,
)
from app.deployments.order import replica_name
from app.deployments.program import publish_program
from app.deployments.scale import SCALE_CHECK_SECONDS, scale
from app.deployments.schemas import Autoscale
from app.environments import service as environments
from app.environments.states import ImageState
from app.kernel.clock import database_now
from app.kernel.crash_points import CrashPoint, reached
from app.logs import sealing
from app.providers.base import (
    LOCAL,
    Capacity,
    ImageMissing,
    NodeRefused,
    NodeSpec,
    NotYetRemoved,
    ProviderError,
)
from app.tables.deployment import Deployment, Replica
from app.tables.image import Image
from workers.context import WorkerContext
from workers.failing import failing
from workers.node_door import NodeDoor
from workers.reconciler import Guard

_GIB = 1024**3
_STARTED = ("Launched", "Serving")
_NOT_YET_SECONDS = 1.0
_PROVIDER_CHECK_SECONDS = 2.0


class DeploymentReconciler:
    """One step: look, decide, write the rows, then start and remove what they say."""

    table = cast("Table", Deployment.__table__)

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._door = NodeDoor(context.settings.nodes_base_url)

    async def reconcile(self, guard: Guard) -> float | None:
        """Do what can be done now; says when to look again."""
        try:
            await self._give_up_silent(guard)
            return await self._step(guard)
        except ProviderError as error:
            words = str(error)
            await self._note(guard, {"code": "provider_unavailable", "message": words})
            return _PROVIDER_CHECK_SECONDS

    async def _give_up_silent(self, guard: Guard) -> None:
        """Take replicas whose runners are silent for lost, if these could report.

        So a node that hangs as a whole is noticed; a process that hangs is told by its runner.
        """
        limit = self._context.settings.heartbeat_timeout_seconds
        async with self._context.database.session() as session:
            silent = await repository.silent_replicas(
                session, guard.lease.row_id, silent_seconds=limit
            )
        if not silent or await self._door.open_seconds() < limit / 2:
            return
        failed = {
            "code": "replica_silent",
            "message": f"The replica's node sent no heartbeat for {limit:g} s.",
        }
        async with self._context.database.session() as session:
            await guard.check(session)
            ended_at = (await database_now(session)).timestamp()
            result = {"failed": failed, "ended_at": ended_at}
            # Again: one may have been heard since.
            still = repository.is_silent(guard.lease.row_id, silent_seconds=limit)
            named = update(Replica).where(Replica.name.in_(silent), still)
            await session.execute(named.values(state=LOST, result=result))

    async def say_failed(self, guard: Guard, error: str) -> None:
        """Let the deployment say that looks at it fail."""
        await self._note(guard, failing("the deployment", error))

    async def _note(self, guard: Guard, error: dict[str, str]) -> None:
        """Let the deployment say why its replicas cannot be looked after.

        Its state stays: replicas may serve on. The next step that succeeds says what is true then.
        """
        async with self._context.database.session() as session:
            await guard.check(session)
            row = await repository.lock(session, guard.lease.row_id)
            if row.state != State.FAILED:
                row.error = error

    async def _step(self, guard: Guard) -> float | None:
        async with self._context.database.session() as session:
            row = await session.get(Deployment, guard.lease.row_id)
            if row is None:
                return None
            image = await session.get_one(Image, row.image_id)
            if image.state == ImageState.RESOLVED:
                row = await self._follow_resolution(session, guard, image)
                image = await session.get_one(Image, row.image_id)
            replicas = await repository.replicas_to_judge(session, row)
            now = await database_now(session)
            if row.autoscale is not None and image.state == ImageState.READY:
                row = await self._scale(session, guard, now)
        present = [replica for replica in replicas if not replica.removed]
        alive = await self._alive(present)
        plan = await self._plan(row, image, replicas, alive, now)
        if plan.is_gone:
            await self._forget(guard)
            return None
        if plan.launch:
            stored = await publish_program(self._context.objects)
            async with self._context.database.session() as session:
                await blobs.add(session, row.workspace_id, stored)
        lost = [replica.name for replica in present if _is_lost(replica, alive)]
        to_start = await self._write(guard, row.generation, plan, lost)
        if to_start is None:
            return 0.0  # the wish changed while it was looked at
        if image.state != ImageState.READY:
            to_start = []  # started when there is something to make them of
        try:
            for replica in to_start:
                await self._start(guard, row, replica, image)
        except ImageMissing as error:
            await self._replace_image(guard, image, error)
            return _NOT_YET_SECONDS
        is_clean = await self._remove(guard, plan.remove)
        return plan.check_in_seconds if is_clean else _NOT_YET_SECONDS

    async def _follow_resolution(
        self, session: AsyncSession, guard: Guard, image: Image
    ) -> Deployment:
        """The base's tag has been looked up: the image with its digest is the deployment's."""
        await guard.check(session)
        row = await repository.lock(session, guard.lease.row_id)
        row.image_id = image.resolved_to
        return row

    async def _replace_image(self, guard: Guard, image: Image, missing: ImageMissing) -> None:
        """Have an image built again that is gone from the engine and cannot be pulled."""
        async with self._context.database.session() as session:
            await guard.check(session)
            await environments.replace_lost(session, image.id, missing.reference)

    async def _scale(self, session: AsyncSession, guard: Guard, now: datetime) -> Deployment:
        """Let the number of replicas follow the load that the routers noted."""
        await guard.check(session)
        row = await repository.lock(session, guard.lease.row_id)
        if row.autoscale is None or row.deleting or row.state == State.FAILED:
            return row
        await loads.forget_old(session, row.id)
        scaled = scale(
            Autoscale.model_validate(row.autoscale),
            count=row.replica_count,
            concurrency=await loads.concurrency(session, row.id),
            quiet_seconds=(now - row.busy_at).total_seconds(),
        )
        if scaled.is_busy:
            row.busy_at = now
        row.replica_count = scaled.count
        return row

    async def _alive(self, replicas: Sequence[Replica]) -> frozenset[str]:
        """Names of those whose nodes the provider sees now."""
        names = [replica.name for replica in replicas]
        return frozenset([name for name in names if await self._context.provider.is_alive(name)])

    async def _plan(
        self,
        row: Deployment,
        image: Image,
        replicas: Sequence[Replica],
        alive: frozenset[str],
        now: datetime,
    ) -> Plan:
        view = View(
            generation=row.generation,
            replica_count=row.replica_count,
            is_deleting=row.deleting,
            state=row.state,
            image_state=image.state,
            image_error=image.error,
            fits=self._fits(row, await self._context.provider.capacity()),
            replicas=[_view(replica, alive, now.timestamp()) for replica in replicas],
            is_elastic=row.autoscale is not None,
        )
        plan = decide(view, [replica.name for replica in replicas if not replica.removed])
        if row.autoscale is not None and row.replica_count and plan.check_in_seconds is not None:
            pause = min(plan.check_in_seconds, SCALE_CHECK_SECONDS)
            plan = replace(plan, check_in_seconds=pause)
        return plan

    def _fits(self, row: Deployment, capacity: Capacity) -> bool:
        wanted = row.resource_configuration
        overcommit = self._context.settings.node_overcommit
        return bool(
            wanted["cpu"] <= capacity.cores * overcommit
            and wanted["memory_gb"] * _GIB <= capacity.memory_bytes
            and wanted["gpu"] <= capacity.gpus
        )

    async def _write(
        self, guard: Guard, generation: int, plan: Plan, lost: Sequence[str]
    ) -> list[Replica] | None:
        """Write state and new rows; returns the replicas whose processes must be there.

        Of what went away without a word that is written down; what did report an end meanwhile
        keeps its report.
        """
        async with self._context.database.session() as session:
            await guard.check(session)
            row = await repository.lock(session, guard.lease.row_id)
            if row.generation != generation:
                return None
            _show(row, plan)
            if plan.drain:
                await _end(session, plan.drain, was=("Serving",), becomes=DRAINING)
            if lost:
                await _end(session, lost, was=_STARTED, becomes=LOST)
            for launch in plan.launch:
                name = replica_name(
                    row.id, generation=generation, index=launch.index, start=launch.start
                )
                session.add(
                    Replica(
                        name=name,
                        deployment_id=row.id,
                        generation=generation,
                        index=launch.index,
                        start=launch.start,
                    )
                )
            await session.flush()
            present = await repository.present_replicas(session, [row.id])
            return [
                replica
                for replica in present[row.id]
                if _is_to_start(replica) and replica.name not in plan.remove
            ]

    async def _start(self, guard: Guard, row: Deployment, replica: Replica, image: Image) -> None:
        wanted = row.resource_configuration
        token = self._context.signer.issue(
            Principal(
                kind="node",
                id=replica.name,
                name=f"node {replica.name}",
                workspace_id=row.workspace_id,
                attempt=replica.start,
            )
        )
        spec = NodeSpec(
            name=replica.name,
            endpoint=self._context.settings.nodes_base_url,
            token=token,
            cores=wanted["cpu"],
            memory_bytes=int(wanted["memory_gb"] * _GIB),
            image=image.reference,
            gpus=int(wanted["gpu"]),
        )
        reached(CrashPoint.REPLICA_WRITTEN)
        try:
            await self._context.provider.ensure(spec)
        except NodeRefused as error:
            await self._note_refusal(guard, replica, str(error))
            return
        reached(CrashPoint.REPLICA_STARTED)
        address = await self._context.provider.address(replica.name)
        async with self._context.database.session() as session:
            await guard.check(session)
            named = update(Replica).where(Replica.name == replica.name)
            # The replica may have been faster than this transaction.
            await session.execute(named.values(address=address))
            await session.execute(
                named.where(Replica.state == "Assigned").values(
                    state="Launched", launched_at=func.clock_timestamp()
                )
            )

    async def _note_refusal(self, guard: Guard, replica: Replica, words: str) -> None:
        failed = {"code": "node_start_failed", "message": words}
        async with self._context.database.session() as session:
            await guard.check(session)
            row = await session.get_one(Replica, replica.name)
            row.state = "Exited"
            row.result = {"failed": failed, "ended_at": (await database_now(session)).timestamp()}

    async def _remove(self, guard: Guard, names: Sequence[str]) -> bool:
        """Take replicas away; says whether nothing of them is left.

        Raises:
            ProviderError: it cannot take one away; the others went all the same.
        """
        gone = []
        failures: list[ProviderError] = []
        for name in names:
            try:
                await self._context.provider.remove(name, host=LOCAL)
                gone.append(name)
            except NotYetRemoved:
                continue
            except ProviderError as error:
                failures.append(error)
        if gone:
            reached(CrashPoint.REPLICA_REMOVED)
            async with self._context.database.session() as session:
                await guard.check(session)
                await session.execute(
                    update(Replica).where(Replica.name.in_(gone)).values(removed=True)
                )
                await repository.forget_removed(
                    session, guard.lease.row_id, kept_starts=KEPT_STARTS
                )
        if failures:
            raise failures[0]
        return len(gone) == len(names)

    async def _forget(self, guard: Guard) -> None:
        """Seal the log, so that its followers end, and remove the row."""
        await sealing.seal(self._context.database, self._context.objects, guard.lease.row_id)
        async with self._context.database.session() as session:
            await guard.check(session)
            await session.delete(await session.get_one(Deployment, guard.lease.row_id))


def _is_to_start(replica: Replica) -> bool:
    """Whether its process may be missing, or nobody has written down yet where it is.

    A replica may serve before its address is written; whoever was to write it may have failed.
    """
    return replica.state == "Assigned" or (replica.state == "Serving" and replica.address is None)


def _is_lost(replica: Replica, alive: frozenset[str]) -> bool:
    return replica.state in _STARTED and replica.name not in alive


async def _end(
    session: AsyncSession, names: Sequence[str], *, was: Sequence[str], becomes: str
) -> None:
    """Have replicas that are in such a state end now."""
    result = {"ended_at": (await database_now(session)).timestamp()}
    named = update(Replica).where(Replica.name.in_(names), Replica.state.in_(was))
    await session.execute(named.values(state=becomes, result=result))


def _show(row: Deployment, plan: Plan) -> None:
    if row.state != plan.state:
        row.state = plan.state
        row.state_at = func.clock_timestamp()
    if plan.state != State.FAILED or plan.error is not None:
        row.error = plan.error


def _view(replica: Replica, alive: frozenset[str], now: float) -> ReplicaView:
    state = LOST if _is_lost(replica, alive) else replica.state
    result: dict[str, Any] = replica.result or {}
    ended_at: float | None = None
    if state not in LIVE_STATES:
        ended_at = result.get("ended_at", now)
    view = ReplicaView(
        name=replica.name,
        generation=replica.generation,
        index=replica.index,
        start=replica.start,
        state=state,
        is_alive=replica.name in alive,
        ended_seconds_ago=None if ended_at is None else max(0.0, now - ended_at),
        result=replica.result,
    )
    served = _served_seconds(replica.serving_at, ended_at or now)
    return replace(view, served_seconds=served)


def _served_seconds(serving_at: datetime | None, until: float) -> float | None:
    return None if serving_at is None else max(0.0, until - serving_at.timestamp())
