"""A node that loads a registered model once, for its signature and a sample."""

from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.signing import Signer
from app.kernel.config import Settings
from app.kernel.errors import invalid_field
from app.kernel.keyring import Keyring
from app.kernel.wake import wake
from app.model_captures import repository
from app.model_captures.decide import REPORT_PATH
from app.model_captures.order import build_order
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
from app.tables.blob import Blob
from app.tables.image import Image
from app.tables.model import ModelCapture


class CaptureWork:
    """The work of one node for a capture."""

    def __init__(self, name: str, row: ModelCapture, workspace_id: str) -> None:
        self._name = name
        self.workspace_id = workspace_id
        self.log_owner = row.id
        self.attempt = row.start

    @classmethod
    async def find(cls, session: AsyncSession, node_name: str) -> "CaptureWork":
        """The work of the node of this name.

        Raises:
            AttemptSuperseded: it is over.
        """
        row = await repository.of_node(session, node_name)
        if row is None:
            raise AttemptSuperseded("This capture is over; end yourself.")
        workspace, _ = await repository.owner(session, row)
        return cls(node_name, row, workspace.id)

    async def order(
        self, session: AsyncSession, settings: Settings, signer: Signer
    ) -> dict[str, Any]:
        """The work order."""
        row = await self._lock(session)
        _, version = await repository.owner(session, row)
        image = await session.get_one(Image, row.image_id)
        return build_order(settings, row=row, version=version, image=image)

    async def secrets(self, session: AsyncSession, keyring: Keyring) -> list[dict[str, str]]:
        """None: captures have no secrets."""
        return []

    async def on_heartbeat(self, session: AsyncSession, beat: Heartbeat) -> NodeCommand:
        """Nothing to note: a capture has a deadline instead."""
        return NodeCommand(command="start" if beat.phase == "ready" else "continue")

    async def on_event(self, session: AsyncSession, event: NodeEvent) -> NodeCommand:
        """Note how it ended; an event that comes again changes nothing."""
        if event.event == "exited":
            processes = [each.model_dump() for each in event.processes]
            await self._note(session, {"processes": processes, "reason": event.reason})
        elif event.event == "failed":
            failed = {"code": event.code, "message": event.message}
            await self._note(session, {"failed": failed})
        elif event.event == "finished":
            await self._note(session, {"is_finished": True})
        return NodeCommand(command="start" if event.event == "ready" else "continue")

    async def on_records(self, session: AsyncSession, batch: RecordBatch) -> int:
        """Take and drop records: a capture logs no metrics."""
        return batch.first_seq + len(batch.records)

    async def on_checkpoint(self, session: AsyncSession, checkpoint: Checkpoint) -> None:
        """Take and drop it: a capture saves nothing."""

    async def on_host_metrics(self, session: AsyncSession, samples: HostSamples) -> None:
        """Take and drop them: captures are not asked for any."""

    async def on_outputs(self, session: AsyncSession, outputs: Outputs) -> None:
        """Note where the report is."""
        for file in outputs.files:
            if file.path != REPORT_PATH:
                continue
            blob = await session.get(Blob, (self.workspace_id, file.sha256))
            if blob is None:
                raise invalid_field("/files", "blobs_missing", "The report has not been uploaded.")
            # How large it is the node may say, but not decide.
            report = {"sha256": file.sha256, "size_bytes": blob.size_bytes}
            await self._note(session, {"report": report})

    async def _note(self, session: AsyncSession, told: dict[str, Any]) -> None:
        row = await self._lock(session)
        row.result = told | (row.result or {})
        await session.flush()
        await wake(session, ModelCapture, row.id)

    async def _lock(self, session: AsyncSession) -> ModelCapture:
        row = await repository.of_node(session, self._name, locked=True)
        if row is None:
            raise AttemptSuperseded("This capture is over; end yourself.")
        return row
