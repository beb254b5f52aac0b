"""Reads the signature of a new model version, in a process of its own with limits."""

import asyncio
import json
import sys
import tempfile
from pathlib import Path
from typing import Any, cast

from sqlalchemy import Table

from app.kernel.crash_points import CrashPoint, reached
from app.models.kind import Found, Kind
from app.models.service import found_in
from app.models.signature import SignatureUnavailable, choose_signature
from app.tables.model import ModelVersion
from workers.context import WorkerContext
from workers.reconciler import Guard

_INSPECTOR = Path(__file__).parent / "serving" / "inspect_model.py"
_TIMEOUT_SECONDS = 60.0
_MAX_ANSWER_BYTES = 4 * 1024**2
_LATER = "The signature of such a file is known once it is deployed: it takes its library to read."


class ModelReconciler:
    """One step: Pending becomes Ready or Unavailable."""

    table = cast("Table", ModelVersion.__table__)

    def __init__(self, context: WorkerContext) -> None:
        self._context = context

    async def reconcile(self, guard: Guard) -> float | None:
        """Read the signature unless that was done."""
        async with self._context.database.session() as session:
            row = await session.get(ModelVersion, guard.lease.row_id)
        if row is None or row.signature_state != "Pending":
            return None
        found = found_in(row)
        if found.is_servable and found.kind != Kind.SAVED_MODEL and self._is_captured:
            return None  # loading it tells
        signature: dict[str, Any] | None = None
        reason = ""
        try:
            signature = await self._signature(row, found)
        except SignatureUnavailable as error:
            reason = str(error)
        reached(CrashPoint.MODEL_INSPECTED)
        async with self._context.database.session() as session:
            await guard.check(session)
            row = await session.get_one(ModelVersion, guard.lease.row_id)
            row.signature = signature
            row.signature_state = "Ready" if signature else "Unavailable"
            row.signature_reason = reason
        return None

    @property
    def _is_captured(self) -> bool:
        return self._context.settings.model_captures_at_once > 0

    async def _signature(self, row: ModelVersion, found: Found) -> dict[str, Any]:
        if found.reason:
            raise SignatureUnavailable(found.reason)
        if found.kind != Kind.SAVED_MODEL:
            raise SignatureUnavailable(_LATER)
        name = f"{found.root}/saved_model.pb" if found.root else "saved_model.pb"
        digest = next(file["sha256"] for file in row.files if file["path"] == name)
        path = await self._context.objects.fetch(digest)
        if path is None:
            raise SignatureUnavailable("The bytes of saved_model.pb are damaged in the store.")
        with tempfile.TemporaryDirectory(prefix="trainwright-model-") as folder:
            (Path(folder) / "saved_model.pb").symlink_to(path)
            return choose_signature(await _inspect(Path(folder)))


async def _inspect(folder: Path) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", str(_INSPECTOR), str(folder),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={},
    )  # fmt: skip
    try:
        async with asyncio.timeout(_TIMEOUT_SECONDS):
            answer = await _whole(process)
            await process.wait()
        document = json.loads(answer)
    except TimeoutError as error:
        raise SignatureUnavailable("Reading the signature took too long.") from error
    except ValueError as error:
        raise SignatureUnavailable(
            f"Reading the signature failed (the process ended with {process.returncode})."
        ) from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    return cast("dict[str, Any]", document)


async def _whole(process: asyncio.subprocess.Process) -> bytes:
    """All that the process prints; one read would return what is there at that moment."""
    assert process.stdout is not None
    try:
        await process.stdout.readexactly(_MAX_ANSWER_BYTES + 1)
    except asyncio.IncompleteReadError as whole:
        return whole.partial
    words = f"The signatures of the model take more than {_MAX_ANSWER_BYTES} bytes."
    raise SignatureUnavailable(words)
