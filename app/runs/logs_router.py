"""Routes of a run's logs."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.auth.needs import needs
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.orm import MAX_INTEGER
from app.kernel.pagination import Page, PageDep
from app.logs import repository as logs
from app.logs.answer import LOG_RESPONSES, log_answer
from app.logs.query import LineQueryDep
from app.runs.access import DetachedRunDep, RunDep, attempt_of
from app.runs.schemas import LogStreamRead
from app.storage.access import ObjectsDep

router = APIRouter(prefix="/v1/workspaces/{workspace}/runs/{run_id}/logs", tags=["runs"])


@router.get("", response_class=Response, responses=LOG_RESPONSES)
@router.head("", include_in_schema=False)
@needs("runs.read", run=True)
async def get_run_logs(
    run: DetachedRunDep,
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    lines: LineQueryDep,
    stream: Annotated[
        str, Query(max_length=1000, description="Name of one stream; absent: all, merged")
    ] = "",
    attempt: Annotated[
        int | None,
        Query(ge=1, le=MAX_INTEGER, description="Attempt of the stream; absent: the latest"),
    ] = None,
    offset: Annotated[int, Query(ge=0, description="First byte")] = 0,
    follow: Annotated[bool, Query(description="Go on until the run has ended")] = False,
) -> Response:
    """The log as it is now, or followed with ``curl -N``; resumes at any byte.

    With ``tail``, ``since``, ``until``, ``grep``, ``node`` or ``timestamps``, or where the client
    accepts NDJSON or SSE, lines merged by time.
    """
    return await log_answer(
        request,
        database,
        objects,
        owner=run.id,
        lines=lines,
        name=stream,
        attempt=None if attempt is None else attempt_of(run, attempt),
        latest=max(1, run.attempt),
        offset=offset,
        follow=follow,
        # A run that another program tracks never gets a log here.
        grows=run.kind == "job",
    )


@router.get("/streams")
@needs("runs.read", run=True)
async def list_run_log_streams(
    run: RunDep, session: SessionDep, page: PageDep
) -> Page[LogStreamRead]:
    """The byte streams of the run with their lengths; hashes once they are sealed."""
    rows, following = await logs.list_page(session, run.id, page)
    return Page(
        items=[
            LogStreamRead(
                name=row.name,
                attempt=row.attempt,
                node_index=row.node_index,
                length_bytes=row.length_bytes,
                is_sealed=row.sha256 is not None,
                sha256=row.sha256,
                expired_at=row.expired_at,
            )
            for row in rows
        ],
        next_page_token=following,
    )
