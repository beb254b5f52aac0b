"""Logs as HTTP answers: whole, in part, or followed."""

import re
from collections.abc import AsyncIterator

from fastapi import Request
from fastapi.responses import Response, StreamingResponse

from app.kernel.db import Database
from app.kernel.errors import NotFound, RangeNotSatisfiable
from app.logs.repository import MERGED
from app.logs.service import LogReader
from app.storage.objects import ObjectStore

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_TEXT = "text/plain; charset=utf-8"


class LogStreamNotFound(NotFound):
    """There is no stream of this name."""

    code = "log_stream_not_found"


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
        RangeNotSatisfiable: the range begins behind the end.
    """
    reader = LogReader(database, objects, owner=owner, attempt=attempt, name=name)
    stream = await reader.stream()
    if stream is None and name != MERGED:
        raise LogStreamNotFound(f"There is no log stream {name!r} in attempt {attempt}.")
    length = stream.length_bytes if stream else 0
    headers = {
        "Accept-Ranges": "bytes",
        "X-Accel-Buffering": "no",
        "Content-Security-Policy": "sandbox",
        "Log-Sealed": "true" if stream and stream.sha256 else "false",
    }
    if stream and stream.sha256:
        headers["ETag"] = f'"{stream.sha256}"'
    status, start, stop = _bounds(request, offset=offset, length=length, follow=follow)
    if status == 206:
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{length}"
    content: AsyncIterator[bytes]
    if follow:
        content = reader.follow(start, signals=request.app.state.signals)
    else:
        headers["Content-Length"] = str(stop - start)
        content = reader.read(start, stop)
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=_TEXT)
    return StreamingResponse(content, status_code=status, headers=headers, media_type=_TEXT)


def _bounds(request: Request, *, offset: int, length: int, follow: bool) -> tuple[int, int, int]:
    match = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if match is None or not any(match.groups()):
        return 200, min(offset, length) if not follow else offset, length
    first, last = match.groups()
    if not first:
        start, stop = max(0, length - int(last)), length
    else:
        start, stop = int(first), min(int(last) + 1, length) if last else length
    if follow:
        return 200, start, length
    if start >= stop:
        raise RangeNotSatisfiable(
            f"The log has {length} bytes.", headers={"Content-Range": f"bytes */{length}"}
        )
    return 206, start, stop
