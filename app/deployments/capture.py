"""Collecting captured predictions in memory, and writing them as files; no answer waits for it."""

import asyncio
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import structlog
from prometheus_client import Counter
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from app.blobs import repository as blobs
from app.deployments import capture_repository
from app.deployments.capture_records import Body, Record, as_lines
from app.deployments.measures import Measure
from app.deployments.replica_client import ReplicaAnswer
from app.deployments.repository import Target
from app.deployments.schemas import DataCapture
from app.kernel.clock import utc_now
from app.kernel.db import Database
from app.kernel.ids import new_id
from app.kernel.measures import REGISTRY
from app.storage.errors import StorageError
from app.storage.objects import ObjectStore
from app.tables.capture import CaptureFile

_FILE_BYTES = 4 * 1024**2
"""A file is written when it has so much, before its time."""
_MOST_BYTES = 64 * 1024**2
"""So much waits in the memory of a process at most; what comes beyond is left out, and counted."""
_HEADER_LENGTH = "Inference-Header-Content-Length"
_LEFT_OUT = Counter(
    "trainwright_captures_left_out_total",
    "Predictions that were to be captured and were not, by workspace and deployment",
    ["workspace_id", "deployment"],
    registry=REGISTRY,
)
_log = structlog.get_logger(__name__)


@dataclass
class _Waiting:
    """What is collected for a deployment since its last file."""

    workspace_id: str
    capture: DataCapture
    records: list[Record] = field(default_factory=list)
    size_bytes: int = 0


class Captures:
    """What this process has captured and not written yet.

    Args:
        database: where files are noted.
        objects: where they are kept.
        write_seconds: how long what is captured waits at most.
    """

    def __init__(self, database: Database, objects: ObjectStore, *, write_seconds: float) -> None:
        self._database = database
        self._objects = objects
        self._write_seconds = write_seconds
        self._waiting: dict[str, _Waiting] = {}
        self._size_bytes = 0
        self._is_full = asyncio.Event()

    def note(
        self,
        target: Target,
        measure: Measure,
        answer: ReplicaAnswer,
        *,
        path: str,
        body: bytes,
        headers: Mapping[str, str],
        request_id: str,
    ) -> None:
        """Take a prediction, if its deployment captures and chance wills it; never waits.

        Args:
            target: the deployment that answered.
            measure: of the answer.
            answer: of the replica.
            path: at the replica.
            body: of the request.
            headers: of the request; none of them is kept.
            request_id: of the call.
        """
        row = target.deployment
        kept = row.data_capture
        if kept is None or 100 * random.random() >= kept["percent"]:  # noqa: S311
            return
        capture = DataCapture.model_validate(kept)
        record = Record(
            at=utc_now(),
            request_id=request_id,
            model_version=measure.version,
            is_shadow=measure.is_shadow,
            path=path,
            status=measure.status,
            seconds=measure.seconds,
            request=_body(body, headers.get(_HEADER_LENGTH), capture),
            response=_body(answer.content, answer.headers.get(_HEADER_LENGTH), capture),
        )
        if self._size_bytes + record.size_bytes > _MOST_BYTES:
            _LEFT_OUT.labels(row.workspace_id, row.name).inc()
            return
        waiting = self._waiting.setdefault(row.id, _Waiting(row.workspace_id, capture))
        waiting.capture = capture
        waiting.records.append(record)
        waiting.size_bytes += record.size_bytes
        self._size_bytes += record.size_bytes
        if waiting.size_bytes >= _FILE_BYTES:
            self._is_full.set()

    async def write_forever(self) -> None:
        """Write files in turns until cancelled; then what is left, once."""
        try:
            while True:
                try:
                    async with asyncio.timeout(self._write_seconds):
                        await self._is_full.wait()
                except TimeoutError:
                    pass
                self._is_full.clear()
                await self.write()
        finally:
            await self.write()

    async def write(self) -> None:
        """Write what is there; what cannot be written now stays for the next time."""
        for deployment_id, waiting in list(self._waiting.items()):
            del self._waiting[deployment_id]
            try:
                await self._write(deployment_id, waiting)
            except IntegrityError:
                _log.info("captures_of_deleted_deployment", deployment_id=deployment_id)
            except (SQLAlchemyError, StorageError, OSError) as error:
                _log.warning("captures_not_written", error=str(error).splitlines()[0])
                self._put_back(deployment_id, waiting)
                continue
            except asyncio.CancelledError:
                self._put_back(deployment_id, waiting)
                raise
            self._size_bytes -= waiting.size_bytes

    async def _write(self, deployment_id: str, waiting: _Waiting) -> None:
        records = waiting.records
        stored = await self._objects.put_bytes(await asyncio.to_thread(as_lines, records))
        async with self._database.session() as session:
            await blobs.add(session, waiting.workspace_id, [stored])
            session.add(
                CaptureFile(
                    id=new_id("cap"),
                    deployment_id=deployment_id,
                    sha256=stored.sha256,
                    size_bytes=stored.size_bytes,
                    record_count=len(records),
                    first_at=records[0].at,
                    last_at=records[-1].at,
                    expires_at=utc_now() + timedelta(days=waiting.capture.keep_days),
                )
            )
            await session.flush()
            await capture_repository.delete_over(
                session, deployment_id, max_bytes=waiting.capture.max_total_bytes
            )

    def _put_back(self, deployment_id: str, waiting: _Waiting) -> None:
        newer = self._waiting.get(deployment_id)
        if newer is not None:
            waiting.capture = newer.capture
            waiting.records += newer.records
            waiting.size_bytes += newer.size_bytes
        self._waiting[deployment_id] = waiting


def _body(content: bytes, json_bytes: str | None, capture: DataCapture) -> Body:
    kept = content if len(content) <= capture.max_body_bytes else b""
    return Body(kept, len(content), json_bytes)
