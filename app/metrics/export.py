"""All values of an attempt as a CSV or Parquet file."""

import csv
import io
import json
import os
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import IO, Any

import anyio.from_thread
import anyio.to_thread
import arro3.io
from anyio import CapacityLimiter
from anyio.lowlevel import RunVar
from arro3.core import Array, DataType, Field, RecordBatch, RecordBatchReader, Schema
from fastapi.responses import StreamingResponse
from sqlalchemy import Row
from starlette.types import Receive, Scope, Send

from app.kernel.db import Database
from app.metrics import repository
from app.metrics.repository import Key, Wanted
from app.storage.writer import CHUNK_BYTES

COLUMNS = ("name", "type", "step", "epoch", "logged_at", "value", "data", "source")
_FEWEST_ROWS, _MOST_ROWS = 1000, 100_000
"""Of a row group: very small ones make a file that is read slowly."""
_GROUP_BYTES = 64 * 1024 * 1024
"""Of a row group, which is in memory as a whole."""
_AT_ONCE = 4
"""So many Parquet files are written at a time, each with a row group in memory and a thread."""
_limiter: RunVar[CapacityLimiter] = RunVar("metrics_exports")
_TEXT, _INTEGER = DataType.utf8(), DataType.int64()
_TIME = DataType.timestamp("us", tz="UTC")
_SCHEMA = Schema(
    [
        Field("name", _TEXT, nullable=False),
        Field("type", _TEXT, nullable=False),
        Field("step", _INTEGER),
        Field("epoch", _INTEGER),
        Field("logged_at", _TIME, nullable=False),
        Field("value", DataType.float64()),
        Field("data", _TEXT),
        Field("source", _TEXT, nullable=False),
    ]
)


Exported = tuple[Row[Any], str | None]
"""A value, and what is no number as JSON."""


async def pages(database: Database, key: Key, wanted: Wanted) -> AsyncIterator[list[Exported]]:
    """All values by name and time, some thousands at a time; no session is held in between.

    Fewer at a time where they are large.
    """
    after = None
    while True:
        async with database.session() as session:
            rows = await repository.page_after(session, key, wanted, after)
        if not rows:
            return
        for some in repository.portions(rows):
            async with database.session() as session:
                data = await repository.data_of(session, some)
            yield [(row, _json(data.get(repository.place_of(row)))) for row in some]
        last = rows[-1]
        after = (last.name, last.logged_at, last.source, last.seq)


async def csv_lines(database: Database, key: Key, wanted: Wanted) -> AsyncIterator[bytes]:
    """The CSV file, as it is made: one row a value; what is no number is JSON in ``data``."""
    yield ",".join(COLUMNS).encode() + b"\r\n"
    async for rows in pages(database, key, wanted):
        text = io.StringIO()
        writer = csv.writer(text)
        for row, data in rows:
            times = row.logged_at.isoformat()
            value = "" if row.value is None else repr(row.value)
            writer.writerow(
                [row.name, row.type, row.step, row.epoch, times, value, data, row.source]
            )
        yield text.getvalue().encode()


async def write_parquet(database: Database, key: Key, wanted: Wanted, file: IO[bytes]) -> None:
    """Write the Parquet file; a row group at a time is in memory.

    Only a few are written at a time, in threads of their own: others wait for their turn.

    Args:
        database: where the values are.
        key: the attempt.
        wanted: which values.
        file: the new file, open for writing.

    Raises:
        Whatever reading the values raises, as it is.
    """
    source = pages(database, key, wanted)
    failures: list[BaseException] = []

    def batches() -> Iterator[RecordBatch]:
        try:
            while rows := anyio.from_thread.run(partial(_next, source)):
                yield _batch(rows)
        except BaseException as error:
            failures.append(error)
            raise

    def write() -> None:
        largest = anyio.from_thread.run(_largest, database, key, wanted)
        rows = max(_FEWEST_ROWS, min(_MOST_ROWS, _GROUP_BYTES // max(1, largest)))
        reader = RecordBatchReader.from_batches(_SCHEMA, batches())
        try:
            arro3.io.write_parquet(reader, file, compression="zstd(3)", max_row_group_size=rows)
        finally:
            # The library makes a nameless exception of it, which nobody could answer.
            if failures:
                raise failures[0]

    await anyio.to_thread.run_sync(write, limiter=_writers())


class ParquetResponse(StreamingResponse):
    """Sends a file whole, and closes it in every case.

    It has no parts: another file of the same values has other bytes, and two would be joined.

    Args:
        file: what was written; it has no other owner from now on.
        filename: that the client may save it under.
    """

    media_type = "application/vnd.apache.parquet"

    def __init__(self, file: IO[bytes], *, filename: str) -> None:
        headers = {
            "Content-Length": str(file.seek(0, os.SEEK_END)),
            "Content-Disposition": f'attachment; filename="{filename}"',
            "Accept-Ranges": "none",
        }
        file.seek(0)
        super().__init__(iter(partial(file.read, CHUNK_BYTES), b""), headers=headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file:
            await super().__call__(scope, receive, send)


def remove_left(folder: Path, *, older_than_seconds: float) -> None:
    """Remove files that versions which gave them names left behind, untouched for so long."""
    limit = time.time() - older_than_seconds
    for path in folder.glob("export-*.parquet"):
        with suppress(FileNotFoundError):  # another collector was faster
            if path.lstat().st_mtime < limit:
                path.unlink()


def _writers() -> CapacityLimiter:
    limiter = _limiter.get(None)
    if limiter is None:
        limiter = CapacityLimiter(_AT_ONCE)
        _limiter.set(limiter)
    return limiter


async def _largest(database: Database, key: Key, wanted: Wanted) -> int:
    async with database.session() as session:
        return await repository.largest(session, key, wanted)


async def _next(source: AsyncIterator[list[Exported]]) -> list[Exported]:
    return await anext(source, [])


def _batch(exported: list[Exported]) -> RecordBatch:
    rows = [row for row, _ in exported]
    micros = [round(row.logged_at.timestamp() * 1e6) for row in rows]
    return RecordBatch.from_arrays(
        [
            Array([row.name for row in rows], type=_TEXT),
            Array([row.type for row in rows], type=_TEXT),
            Array([row.step for row in rows], type=_INTEGER),
            Array([row.epoch for row in rows], type=_INTEGER),
            Array(micros, type=_INTEGER).cast(_TIME),
            Array([row.value for row in rows], type=DataType.float64()),
            Array([data for _, data in exported], type=_TEXT),
            Array([row.source for row in rows], type=_TEXT),
        ],
        schema=_SCHEMA,
    )


def _json(data: dict[str, Any] | None) -> str | None:
    return None if data is None else json.dumps(data["value"], ensure_ascii=False)
