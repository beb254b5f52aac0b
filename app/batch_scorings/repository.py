"""Queries about batch scorings."""

from collections.abc import Sequence

from sqlalchemy import and_, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.batch_scorings.errors import BatchScoringNotFound
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.batch_scoring import BatchScoring
from app.tables.metric import MetricSummary
from app.tables.run import Run, RunFile

SCORED, FAILED = "rows_scored", "rows_failed"
"""What each shard logs, as ``shard_0_rows_scored``."""
_MOST_ROWS = 2**53


async def get(session: AsyncSession, workspace_id: str, batch_scoring_id: str) -> BatchScoring:
    """The batch scoring of this id in the workspace.

    Raises:
        BatchScoringNotFound: there is none.
    """
    statement = (
        select(BatchScoring)
        .where(BatchScoring.workspace_id == workspace_id, BatchScoring.id == batch_scoring_id)
        .execution_options(populate_existing=True)
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise BatchScoringNotFound(batch_scoring_id)
    return row


async def lock(session: AsyncSession, batch_scoring_id: str) -> BatchScoring:
    """The batch scoring, locked until the transaction ends."""
    statement = (
        select(BatchScoring)
        .where(BatchScoring.id == batch_scoring_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalar_one()


async def list_page(
    session: AsyncSession, workspace_id: str, page: PageQuery
) -> tuple[list[BatchScoring], str]:
    """Batch scorings of a workspace, the newest first."""
    return await fetch_page(
        session,
        select(BatchScoring).where(BatchScoring.workspace_id == workspace_id),
        keys=[BatchScoring.id],
        page=page,
        key_of=lambda row: [row.id],
        descending=True,
    )


async def run_states(session: AsyncSession, run_ids: Sequence[str]) -> dict[str, str]:
    """The states of these runs."""
    statement = select(Run.id, Run.status).where(Run.id.in_(run_ids))
    return {row.id: row.status for row in await session.execute(statement)}


async def progress(session: AsyncSession, run_ids: Sequence[str]) -> dict[str, dict[str, int]]:
    """By run: what its shards have logged in its current attempt, added up."""
    found: dict[str, dict[str, int]] = {}
    for kind in (SCORED, FAILED):
        statement = (
            select(MetricSummary.run_id, func.sum(MetricSummary.last).label("rows"))
            .join(Run, and_(Run.id == MetricSummary.run_id, Run.attempt == MetricSummary.attempt))
            .where(MetricSummary.run_id.in_(run_ids), MetricSummary.namespace == "")
            .where(MetricSummary.name.like(f"shard\\_%\\_{kind}"))
            # The program runs the model, which may log what it likes.
            .where(MetricSummary.last.between(0, _MOST_ROWS))
            .group_by(MetricSummary.run_id)
        )
        for row in await session.execute(statement):
            found.setdefault(row.run_id, {})[kind] = int(row.rows or 0)
    return found


async def outputs(session: AsyncSession, run_id: str, folder: str) -> Sequence[RunFile]:
    """Files that a run's script left in a folder of its outputs, by path."""
    statement = (
        select(RunFile)
        .where(RunFile.run_id == run_id, RunFile.origin == "outputs")
        .where(RunFile.path.startswith(f"outputs/{folder}/", autoescape=True))
        .order_by(RunFile.path)
    )
    return (await session.execute(statement)).scalars().all()
