"""What the ``azureml-core`` package sends, in this system's own terms."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from sqlalchemy.ext.asyncio import AsyncSession

from app.azureml.documents import path_of_location
from app.azureml.schemas import MetricSent, MetricValue, RunPatch
from app.imports.translation import invalid_at
from app.kernel.db import Database
from app.metrics import service as metrics
from app.metrics.schemas import MetricRecord, MetricType
from app.runs import repository as runs
from app.runs.schemas import RunUpdate
from app.storage.objects import ObjectStore
from app.tables.run import Run

_TYPES: dict[str, MetricType] = {
    "azureml.v1.scalar": "scalar",
    "azureml.v1.list": "list",
    "azureml.v1.table": "row",
    "azureml.v1.image": "image",
    "azureml.v2.image": "image",
}
_IN_FILES = "azureml.v2."
"""Metrics of these types say in which file their value is."""
_LARGEST_DOCUMENT_BYTES = 1024 * 1024


M = TypeVar("M", bound=BaseModel)


def read_as(kind: type[M], document: dict[str, Any]) -> M:
    """What the package sent, in this system's own terms.

    Raises:
        Invalid: it is more, or other, than is kept here.
    """
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        raise invalid_at(error, document, "") from None


def run_update(patch: RunPatch) -> RunUpdate:
    """The changes of a patch; a status in it is left aside, the exit code of the script decides.

    A tag of the package may have no value: it is kept as an empty one.

    Raises:
        Invalid: something is longer than is kept.
    """
    changes: dict[str, Any] = {
        "display_name": patch.display_name,
        "description": patch.description,
        "tags": {key: _text(value) for key, value in (patch.tags or {}).items()},
        "properties": {key: _text(value) for key, value in (patch.properties or {}).items()},
    }
    return read_as(RunUpdate, {k: v for k, v in changes.items() if v is not None})


@dataclass
class Batch:
    """Metrics as they were sent, read.

    Attributes:
        sources: records by the id of the first row of their call.
        refused: what could not be read, as the package reads it.
    """

    sources: list[tuple[str, list[MetricRecord]]]
    refused: list[dict[str, Any]]


async def read_batch(
    database: Database, objects: ObjectStore, run: Run, values: Sequence[dict[str, Any]]
) -> Batch:
    """The metrics of a batch; no session is held while the store is asked for files.

    Args:
        database: where the run's files are named.
        objects: where files are whose content is the value of a metric.
        run: whose metrics they are.
        values: as they were sent.
    """
    batch = Batch(sources=[], refused=[])
    for index, value in enumerate(values):
        try:
            sent = MetricSent.model_validate(value)
            records = [_record(sent, row) for row in sent.value]
        except (ValueError, OverflowError) as error:
            batch.refused.append(_refused(index, value, str(error).splitlines()[0]))
            continue
        for record in records:
            if record.type == "json" and sent.properties.ux_metric_type.startswith(_IN_FILES):
                record.value = await _content(database, objects, run, record.value)
        if records:
            batch.sources.append((sent.value[0].metric_id, records))
    return batch


async def store_batch(session: AsyncSession, run: Run, batch: Batch) -> None:
    """Store metrics; their ids make a repeated batch harmless."""
    for metric_id, records in batch.sources:
        # The id of the first row stands for the call; rows keep their order within it.
        await metrics.store(
            session,
            run_id=run.id,
            attempt=run.attempt,
            source=f"azureml-{metric_id}",
            numbered=list(enumerate(records)),
        )


def _record(sent: MetricSent, row: MetricValue) -> MetricRecord:
    kind = _TYPES.get(sent.properties.ux_metric_type, "json")
    value: Any = row.data
    if len(row.data) == 1 and sent.name in row.data and kind != "row":
        value = row.data[sent.name]
    if kind == "scalar" and isinstance(value, str):
        kind = "string"
    if kind == "image" and isinstance(value, str):
        value = path_of_location(value)
    time = row.created_utc.timestamp() if row.created_utc else None
    return MetricRecord(name=sent.name, type=kind, value=value, step=row.step, time=time)


async def _content(database: Database, objects: ObjectStore, run: Run, location: Any) -> Any:
    """What the file says that is named; its name where it is too large, or no JSON, or away."""
    if not isinstance(location, str):
        return location
    async with database.session() as session:
        file = await runs.find_file(session, run.id, path_of_location(location))
    if file is None or file.size_bytes > _LARGEST_DOCUMENT_BYTES:
        return location
    chunks = await objects.open(file.sha256, start=0, end=file.size_bytes)
    content = b"".join([chunk async for chunk in chunks])
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return location


def _refused(index: int, value: dict[str, Any], message: str) -> dict[str, Any]:
    name = value.get("name")
    return {
        "index": index,
        "message": message,
        "metric": {"name": name if isinstance(name, str) else ""},
        "errorResponse": {"error": {"code": "UserError", "message": message}},
    }


def _text(value: Any) -> str:
    return "" if value is None else str(value)
