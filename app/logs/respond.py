"""Logs as HTTP answers: whole, in part, or followed."""

import re
from collections.abc import AsyncIterator

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.kernel.db import Database
from app.kernel.errors import RangeNotSatisfiable, invalid_field
from app.kernel.orm import MAX_INTEGER
from app.logs import formats
from app.logs.errors import LogExpired, LogStreamNotFound
from app.logs.formats import NDJSON, SSE, TEXT, Format
from app.logs.query import LineQuery
from app.logs.repository import MERGED
from app.logs.service import LogReader, is_merged
from app.logs.view import LogView, Shown
from app.storage.objects import ObjectStore
from app.tables.log import LogStream

# One range; a number of more digits is no place in any file.
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})")
_KEEP_ALIVE_BATCHES = 15
"""An empty batch comes about once a second."""


async def log_response(
    request: Request,
    database: Database,
    objects: ObjectStore,
    *,
    owner: str,
    name: str,
    attempt: int,
    offset: int,
    follow: bool,
) -> Response:
    """Answer with a log as raw bytes; they are data, never a page of this origin.

    Args:
        request: for its method and ``Range`` (``bytes=N-`` is the same as ``offset=N``).
        database: where growing logs are.
        objects: where sealed logs are.
        owner: id of the run, image or deployment.
        name: the stream; '' is all of them merged.
        attempt: of the stream.
        offset: first byte.
        follow: go on until the log is sealed.

    Raises:
        LogStreamNotFound: there is no stream of this name.
        LogExpired: the workspace's retention took it away.
        RangeNotSatisfiable: the range begins behind the end.
        Invalid: no log can have an ``offset`` so large.
    """
    if offset > MAX_INTEGER:
        raise invalid_field("query/offset", "offset_too_large", "No log has so many bytes.")
    reader = LogReader(database, objects, owner=owner, attempt=attempt, name=name)
    stream = await reader.stream()
    if stream is None and name != MERGED:
        raise LogStreamNotFound(name, attempt)
    if stream is not None and stream.expired_at is not None:
        raise LogExpired(stream.expired_at)
    length = stream.length_bytes if stream else 0
    first = stream.first_byte if stream else 0
    headers = {
        "Accept-Ranges": "bytes",
        "X-Accel-Buffering": "no",
        "Content-Security-Policy": "sandbox",
        "Log-First-Byte": str(first),
        "Log-Sealed": "true" if stream and stream.sha256 else "false",
    }
    if stream and stream.sha256:
        headers["ETag"] = f'"{stream.sha256}"'
    status, start, stop = _bounds(
        request, offset=offset, first_byte=first, length=length, follow=follow
    )
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{length}"
    content: AsyncIterator[bytes]
    if follow:
        content = reader.follow(start, signals=request.app.state.signals)
    else:
        headers["Content-Length"] = str(stop - start)
        content = reader.read(start, stop)
    if request.method == "HEAD":
        return _head(status, headers, TEXT)
    return StreamingResponse(content, status_code=status, headers=headers, media_type=TEXT)


async def lines_response(
    request: Request,
    database: Database,
    objects: ObjectStore,
    *,
    owner: str,
    name: str,
    attempt: int | None,
    query: LineQuery,
    follow: bool,
    grows: bool,
) -> Response:
    """Answer with lines, merged by time: as plain text, NDJSON or SSE, as the client accepts.

    Args:
        request: for its method and its ``Accept``.
        database: where growing logs are.
        objects: where sealed logs are.
        owner: id of the run, image or deployment.
        name: of one stream; '' is all that are merged.
        attempt: None: of all attempts.
        query: which lines.
        follow: go on until the log is sealed; SSE always does.
        grows: whether anything can come; otherwise nobody waits.

    Raises:
        LogStreamNotFound: there is no stream of this name.
        LogExpired: the workspace's retention took the lines away.
    """

    def wants(row: LogStream) -> bool:
        if attempt is not None and row.attempt != attempt:
            return False
        if name:
            return row.name == name
        return is_merged(row.name) and query.node in (None, row.node_index)

    media_type = accepted(request)
    view = LogView(
        database,
        objects,
        owner=owner,
        wants=wants,
        query=query,
        has_cursors=media_type != TEXT,
    )
    streams = await view.streams()
    if name and not streams:
        raise LogStreamNotFound(name, attempt or 1)
    for stream in streams:
        if stream.expired_at is not None:
            raise LogExpired(stream.expired_at)
    if media_type == SSE and query.after is not None and await view.is_read():
        # What tells a browser's EventSource that there is nothing to come back for.
        return Response(status_code=204)
    headers = {
        "Cache-Control": "no-cache",
        "X-Accel-Buffering": "no",
        "Content-Security-Policy": "sandbox",
    }
    if request.method == "HEAD":
        return _head(200, headers, media_type)
    waits = grows and (follow or media_type == SSE)
    batches = view.batches(follow=waits, signals=request.app.state.signals)
    content = _rendered(batches, _format(media_type, query), is_sse=media_type == SSE)
    return StreamingResponse(content, headers=headers, media_type=media_type)


def accepted(request: Request) -> str:
    """The form in which a client wants lines."""
    accept = request.headers.get("accept", "")
    return next((kind for kind in (SSE, NDJSON) if kind in accept), TEXT)


def refuse_bytes(offset: int) -> None:
    """Refuse to count in bytes where lines are asked for.

    Raises:
        Invalid: an offset was given.
    """
    if offset:
        message = "offset counts the bytes of a whole log; to go on after a line, give after."
        raise invalid_field("query/offset", "offset_of_lines", message)


def _head(status: int, headers: dict[str, str], media_type: str) -> Response:
    head = Response(status_code=status, headers=headers, media_type=media_type)
    if "Content-Length" not in headers:
        # How long the answer will be, is not known.
        del head.headers["Content-Length"]
    return head


def _format(media_type: str, query: LineQuery) -> Format:
    if media_type == SSE:
        return formats.sse
    if media_type == NDJSON:
        return formats.ndjson
    return formats.plain_with_times if query.timestamps else formats.plain


async def _rendered(
    batches: AsyncIterator[list[Shown]], render: Format, *, is_sse: bool
) -> AsyncIterator[bytes]:
    if is_sse:
        yield b": lines of a log\n\n"
    silent = 0
    async for batch in batches:
        if batch:
            silent = 0
            yield render(batch)
            continue
        silent += 1
        if is_sse and silent % _KEEP_ALIVE_BATCHES == 0:
            yield formats.SSE_KEEP_ALIVE
    if is_sse:
        yield formats.SSE_END


def _bounds(
    request: Request, *, offset: int, first_byte: int, length: int, follow: bool
) -> tuple[int, int, int]:
    offset = max(offset, first_byte)
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or not any(match.groups()):
        return 200, min(offset, length) if not follow else offset, length
    first, last = match.groups()
    if not first:
        start, stop = max(0, length - int(last)), length
    else:
        start, stop = int(first), min(int(last) + 1, length) if last else length
    start = max(start, first_byte)
    if follow:
        return 200, start, length
    if start >= stop:
        raise RangeNotSatisfiable(
            f"The log has the bytes from {first_byte} to before {length}.",
            headers={"Content-Range": f"bytes */{length}"},
        )
    return 206, start, stop
