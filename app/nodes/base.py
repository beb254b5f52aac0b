"""What the node routes need of the thing that a node works for: a run, a replica, …"""

from typing import Any, Protocol

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.signing import Signer
from app.kernel.config import Settings
from app.kernel.keyring import Keyring
from app.nodes.schemas import (
    Checkpoint,
    Heartbeat,
    HostSamples,
    NodeCommand,
    NodeEvent,
    Outputs,
    RecordBatch,
)


class NodeWork(Protocol):
    """The work behind one node; made per request, by a lookup that fences old attempts."""

    workspace_id: str
    log_owner: str
    """Id under which the node's log streams are kept."""
    attempt: int

    async def order(
        self, session: AsyncSession, settings: Settings, signer: Signer
    ) -> dict[str, Any]:
        """The work order."""

    async def secrets(self, session: AsyncSession, keyring: Keyring) -> list[dict[str, str]]:
        """The secrets that the order names, with their values."""

    async def on_heartbeat(self, session: AsyncSession, beat: Heartbeat) -> NodeCommand:
        """Note that the node is alive; says what it should do."""

    async def on_event(self, session: AsyncSession, event: NodeEvent) -> NodeCommand:
        """Note what happened on the node; says what it should do."""

    async def on_records(self, session: AsyncSession, batch: RecordBatch) -> int:
        """Store records; returns the number that the next one must have."""

    async def on_checkpoint(self, session: AsyncSession, checkpoint: Checkpoint) -> None:
        """Note what the scripts saved; its bytes are here already."""

    async def on_host_metrics(self, session: AsyncSession, samples: HostSamples) -> None:
        """Store what the node used."""

    async def on_outputs(self, session: AsyncSession, outputs: Outputs) -> None:
        """Note the manifest of what the node collected; its bytes are here already."""
