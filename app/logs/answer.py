"""A log as it was asked for: as bytes, or as lines."""

from typing import Any

from fastapi import Request
from fastapi.responses import Response

from app.kernel.db import Database
from app.logs.formats import NDJSON, SSE, TEXT
from app.logs.query import LineQuery
from app.logs.respond import accepted, lines_response, log_response, refuse_bytes
from app.storage.objects import ObjectStore

_CONTENT = {
    "content": {
        media_type: {"schema": {"type": "string"}} for media_type in ("text/plain", NDJSON, SSE)
    }
}
LOG_RESPONSES: dict[int | str, dict[str, Any]] = {200: _CONTENT, 206: _CONTENT}
"""What such a route answers, for the document."""


async def log_answer(
    request: Request,
    database: Database,
    objects: ObjectStore,
    *,
    owner: str,
    lines: LineQuery,
    name: str = "",
    attempt: int | None = None,
    latest: int = 0,
    offset: int,
    follow: bool,
    grows: bool = True,
) -> Response:
    """Answer with lines where lines are asked for, or NDJSON or SSE is accepted; else with bytes.

    Args:
        request: for its method and headers.
        database: where growing logs are.
        objects: where sealed logs are.
        owner: id of the run, build or deployment.
        lines: which lines.
        name: of one stream; '' is all that are merged.
        attempt: of the stream; None: the latest, and of lines that are merged all.
        latest: the attempt that is the latest.
        offset: first byte.
        follow: go on until the log is sealed.
        grows: whether it ever will be; otherwise nobody waits.

    Raises:
        Invalid: lines are asked for from a byte on, or bytes from where no log has any.
        LogStreamNotFound: there is no stream of this name.
        LogExpired: the workspace's retention took it away.
        RangeNotSatisfiable: the range begins behind the end.
    """
    if lines.is_given or accepted(request) != TEXT:
        refuse_bytes(offset)
        return await lines_response(
            request,
            database,
            objects,
            owner=owner,
            name=name,
            attempt=attempt or (latest if name else None),
            query=lines,
            follow=follow,
            grows=grows,
        )
    return await log_response(
        request,
        database,
        objects,
        owner=owner,
        name=name,
        attempt=attempt or latest,
        offset=offset,
        follow=follow and grows,
    )
