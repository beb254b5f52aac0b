"""Tells the traces of runs that are over."""

from sqlalchemy import select

from app.kernel.db import Database
from app.kernel.tracing import Tracing
from app.runs import trace
from app.tables.image import Image
from app.tables.run import Attempt, Run, RunEvent, RunNode


async def tell_trace(database: Database, tracing: Tracing | None, run: Run) -> None:
    """Tell the spans of a run that is over, where somebody wants to know.

    Args:
        database: where its history is.
        tracing: who is told; None: nobody.
        run: the run.
    """
    context = trace.context_of(run)
    if tracing is None or context is None or not context.is_sampled:
        return
    async with database.session() as session:
        events = await session.scalars(
            select(RunEvent).where(RunEvent.run_id == run.id).order_by(RunEvent.seq)
        )
        attempts = await session.scalars(
            select(Attempt).where(Attempt.run_id == run.id).order_by(Attempt.number)
        )
        nodes = await session.scalars(select(RunNode).where(RunNode.run_id == run.id))
        image = await session.get(Image, run.image_id) if run.image_id else None
        spans = trace.spans_of(run, events.all(), attempts.all(), nodes.all(), image)
    tracing.tell(context.trace_id, spans)
