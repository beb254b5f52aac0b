"""How many runs of a workspace may be waiting or running at a time."""

from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.config import Settings
from app.kernel.errors import TooManyRequests
from app.runs.states import TERMINAL
from app.tables.run import Run
from app.tables.workspace import Workspace

_CLOSE = 50
"""So near to the limit, those who submit at once wait for each other, lest all find room."""
_RETRY_SECONDS = 30
# Spelled out as in the condition of the index, so that it is used with prepared statements, too.
_ACTIVE = text("runs.kind = 'job' AND runs.status NOT IN ('Completed', 'Failed', 'Canceled')")
assert set(TERMINAL) == {"Completed", "Failed", "Canceled"}


class TooManyRuns(TooManyRequests):
    """The workspace has as many runs under way as it may have."""

    code = "too_many_runs"


async def check_room(session: AsyncSession, settings: Settings, workspace: Workspace) -> None:
    """See that the workspace may have one more run.

    Raises:
        TooManyRuns: it may not, until one of its runs is over.
    """
    most = min(settings.max_active_runs, workspace.max_active_runs or settings.max_active_runs)
    found = await _count(session, workspace.id, up_to=most)
    if most - found <= _CLOSE:
        key = func.hashtextextended(f"runs of {workspace.id}", 0)
        await session.execute(select(func.pg_advisory_xact_lock(key)))
        found = await _count(session, workspace.id, up_to=most)
    if found >= most:
        raise TooManyRuns(
            f"{most} runs of this workspace are waiting or running, and more it may not have; "
            "wait for one to end, or cancel one.",
            retry_after_seconds=_RETRY_SECONDS,
        )


async def _count(session: AsyncSession, workspace_id: str, *, up_to: int) -> int:
    some = select(Run.id).where(Run.workspace_id == workspace_id, _ACTIVE).limit(up_to)
    statement = select(func.count()).select_from(some.subquery())
    return (await session.execute(statement)).scalar_one()
