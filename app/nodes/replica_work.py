"""A node that works for a replica of a deployment."""

from typing import Any

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.signing import Signer
from app.deployments.decide import DRAINING
from app.deployments.order import build_order, log_attempt
from app.kernel.clock import database_now
from app.kernel.config import Settings
from app.kernel.errors import invalid_field
from app.kernel.keyring import Keyring
from app.kernel.wake import wake
from app.nodes.schemas import (
    Checkpoint,
    Heartbeat,
    HostSamples,
    NodeCommand,
    NodeEvent,
    Outputs,
    RecordBatch,
)
from app.runs.errors import AttemptSuperseded
from app.tables.deployment import Deployment, Replica

_ENDED = frozenset({"Exited", "Lost", DRAINING})


class ReplicaWork:
    """The work of one replica."""

    def __init__(self, replica: Replica, deployment: Deployment) -> None:
        self._name = replica.name
        self.workspace_id = deployment.workspace_id
        self.log_owner = deployment.id
        self.attempt = log_attempt(replica)

    @classmethod
    async def find(cls, session: AsyncSession, node_name: str) -> "ReplicaWork":
        """The work of the replica of this name.

        Raises:
            AttemptSuperseded: it was given up, or its deployment is gone.
        """
        replica = await session.get(Replica, node_name)
        deployment = await session.get(Deployment, replica.deployment_id) if replica else None
        if replica is None or deployment is None or replica.removed or replica.state == "Lost":
            raise AttemptSuperseded("This replica was given up; end yourself.")
        return cls(replica, deployment)

    async def order(
        self, session: AsyncSession, settings: Settings, signer: Signer
    ) -> dict[str, Any]:
        """The work order."""
        replica = await session.get_one(Replica, self._name)
        return await build_order(session, settings, signer, replica=replica)

    async def secrets(self, session: AsyncSession, keyring: Keyring) -> list[dict[str, str]]:
        """None: deployments have no secrets."""
        return []

    async def on_heartbeat(self, session: AsyncSession, beat: Heartbeat) -> NodeCommand:
        """Note the time."""
        replica = await self._lock(session)
        replica.heartbeat_at = func.clock_timestamp()
        return NodeCommand(command="start" if beat.phase == "ready" else "continue")

    async def on_event(self, session: AsyncSession, event: NodeEvent) -> NodeCommand:
        """Move the replica; an event that comes again changes nothing."""
        if event.event in ("serving", "exited", "failed"):
            # Before the replica's row, as its reconciler has it: neither then waits for the other.
            await self._lock_deployment(session)
        replica = await self._lock(session)
        replica.heartbeat_at = func.clock_timestamp()
        if event.event == "serving" and replica.state not in _ENDED | {"Serving"}:
            await self._serving(session, replica, event)
        elif event.event == "exited":
            await self._ended(
                session, replica, {"processes": [each.model_dump() for each in event.processes]}
            )
        elif event.event == "failed":
            failed = {"code": event.code, "message": event.message}
            await self._ended(session, replica, {"failed": failed})
        return NodeCommand(command="start" if event.event == "ready" else "continue")

    async def on_records(self, session: AsyncSession, batch: RecordBatch) -> int:
        """Take and drop records: a replica logs no metrics."""
        return batch.first_seq + len(batch.records)

    async def on_checkpoint(self, session: AsyncSession, checkpoint: Checkpoint) -> None:
        """Take and drop it: a replica saves nothing."""

    async def on_host_metrics(self, session: AsyncSession, samples: HostSamples) -> None:
        """Take and drop them: replicas are not asked for any."""

    async def on_outputs(self, session: AsyncSession, outputs: Outputs) -> None:
        """Take and drop the manifest: a replica has no outputs."""

    async def _serving(self, session: AsyncSession, replica: Replica, event: NodeEvent) -> None:
        if event.port is None:
            raise invalid_field("/port", "port_invalid", "A port is a number up to 65535.")
        replica.state = "Serving"
        replica.port = event.port
        replica.serving_at = func.clock_timestamp()
        if event.body is not None and event.body.signature is not None:
            deployment = await session.get_one(Deployment, replica.deployment_id)
            deployment.signature = event.body.signature.model_dump()
        await wake(session, Deployment, replica.deployment_id)

    async def _ended(self, session: AsyncSession, replica: Replica, result: dict[str, Any]) -> None:
        if replica.state in _ENDED:
            return
        replica.state = "Exited"
        ended_at = (await database_now(session)).timestamp()
        replica.result = {**result, "ended_at": ended_at}
        await wake(session, Deployment, replica.deployment_id)

    async def _lock_deployment(self, session: AsyncSession) -> None:
        own = select(Deployment.id).where(Deployment.id == self.log_owner)
        await session.execute(own.with_for_update(key_share=True))

    async def _lock(self, session: AsyncSession) -> Replica:
        replica = await session.get(
            Replica, self._name, with_for_update=True, populate_existing=True
        )
        if replica is None or replica.removed or replica.state == "Lost":
            raise AttemptSuperseded("This replica was given up; end yourself.")
        return replica
