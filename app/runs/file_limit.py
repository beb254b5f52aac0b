"""How many files a run may have."""

from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.errors import Conflict
from app.tables.run import Run, RunFile, RunNode

MOST_FILES = 100_000


class TooManyFiles(Conflict):
    """A run, or what else has files, has as many as it may."""

    code = "too_many_files"
    title = "Too many files"

    def __init__(self, owner: str = "A run") -> None:
        super().__init__(f"{owner} has at most {MOST_FILES} files: put small ones into an archive.")


async def check_room(
    session: AsyncSession, run_id: str, *, more: int = 1, but_node: str = ""
) -> None:
    """Refuse further files where there would be too many, what nodes have collected included.

    Args:
        session: a transaction that has locked the run.
        run_id: the run.
        more: how many are to be added.
        but_node: whose earlier list of files these replace.

    Raises:
        TooManyFiles: there would be.
    """
    files = select(func.count()).where(RunFile.run_id == run_id).scalar_subquery()
    collected = (
        select(func.coalesce(func.sum(func.jsonb_array_length(RunNode.outputs)), 0))
        .join(Run, Run.id == RunNode.run_id)
        .where(
            RunNode.run_id == run_id,
            RunNode.attempt == Run.attempt,
            RunNode.name != but_node,
            func.jsonb_typeof(RunNode.outputs) == "array",
        )
        .scalar_subquery()
    )
    count = (await session.execute(select(files + collected))).scalar_one()
    if count + more > MOST_FILES:
        raise TooManyFiles
