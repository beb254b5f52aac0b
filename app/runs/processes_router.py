"""The route of a run's processes."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.auth.needs import needs
from app.kernel.db import SessionDep
from app.kernel.orm import MAX_INTEGER
from app.kernel.pagination import Page, PageDep, page_of
from app.runs import attempts, gang
from app.runs.access import RunDep, attempt_of
from app.runs.processes import ProcessRead, processes_of
from app.tables.run import Attempt

router = APIRouter(prefix="/v1/workspaces/{workspace}/runs/{run_id}/processes", tags=["runs"])


@router.get("")
@needs("runs.read", run=True)
async def list_run_processes(
    run: RunDep,
    session: SessionDep,
    page: PageDep,
    attempt: Annotated[
        int | None, Query(ge=1, le=MAX_INTEGER, description="Absent: the latest")
    ] = None,
) -> Page[ProcessRead]:
    """Every process of an attempt by rank: where it is, how it ended, because of whom."""
    number = attempt_of(run, attempt)
    nodes = await attempts.nodes_of(session, run.id, number)
    row = await session.get(Attempt, (run.id, number))
    found = processes_of(gang.tasks_of(run), nodes, error=row.error if row else None)
    return page_of(found, page, key_of=lambda process: [process.rank], listing=f"{run.id}/{number}")
