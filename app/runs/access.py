"""The run in the path, for callers who may see it."""

from typing import Annotated

from fastapi import Depends, Path

from app.auth.access import UserOrRunAccess
from app.kernel.db import DatabaseDep, SessionDep
from app.runs import repository
from app.runs.errors import AttemptNotFound
from app.tables.run import Run
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep

RunId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,256}$")]


async def _run(
    workspace: WorkspaceDep, run_id: RunId, session: SessionDep, _: UserOrRunAccess
) -> Run:
    return await repository.get(session, workspace.id, run_id)


RunDep = Annotated[Run, Depends(_run, scope="function")]
"""The row of ``{run_id}`` in the path; 404 when the workspace has none such."""


async def _detached_run(
    workspace: DetachedWorkspaceDep, run_id: RunId, database: DatabaseDep, _: UserOrRunAccess
) -> Run:
    async with database.session() as session:
        return await repository.get(session, workspace.id, run_id)


DetachedRunDep = Annotated[Run, Depends(_detached_run)]
"""The same for routes that wait or stream: no database session is held meanwhile."""


def attempt_of(run: Run, asked: int | None) -> int:
    """The number of the attempt that is asked for.

    Args:
        run: whose it is.
        asked: its number; None: the latest, which is 0 before the first has begun.

    Raises:
        AttemptNotFound: the run has not come so far.
    """
    if asked is None:
        return run.attempt
    # The building of its environment is told as of the first, which has not begun then.
    if asked > max(1, run.attempt):
        raise AttemptNotFound(run.id, asked)
    return asked
