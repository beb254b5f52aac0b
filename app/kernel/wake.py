"""Waking of reconciled rows and of the streams that watch them."""

from sqlalchemy import func, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.hints import Hint, add_hint
from app.kernel.orm import Base, Reconciled


async def wake(session: AsyncSession, table: type[Base], row_id: str) -> None:
    """Have the row with this id reconciled soon.

    The row itself is marked due in this transaction, so that nothing depends on the hint.

    Args:
        session: the transaction that changed something the reconciler must see.
        table: a table with the ``Reconciled`` columns and a text ``id``.
        row_id: the row.
    """
    assert issubclass(table, Reconciled)
    statement = (
        update(table)
        .where(table.__table__.c.id == row_id)
        .values(wake_seq=table.wake_seq + 1, next_check_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )
    await session.execute(statement)
    add_hint(session, Hint("reconcile", table.__tablename__, row_id))


def wake_new(session: AsyncSession, table: type[Base], row_id: str, *, traceparent: str) -> None:
    """The same for a row of this transaction, which is due from the moment it is there.

    Args:
        session: the transaction.
        table: as for `wake`.
        row_id: the row.
        traceparent: the span of the request that begins it.
    """
    add_hint(session, Hint("reconcile", table.__tablename__, row_id, traceparent))


def signal(session: AsyncSession, topic: str, row_id: str) -> None:
    """Tell the streams that wait for ``topic``/``row_id`` to look again after the commit."""
    add_hint(session, Hint("signal", topic, row_id))
