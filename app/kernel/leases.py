"""Leases on reconciled rows: who may write, by database time, with a fencing token."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import CompoundSelect, String, Table, func, literal, or_, select, union_all, update
from sqlalchemy.ext.asyncio import AsyncSession


@dataclass(frozen=True)
class Lease:
    """A claim on one row.

    Attributes:
        row_id: the row.
        token: fencing token; a write counts only while the row still carries it.
        wake_seq: the row's wake counter when the lease was taken.
        is_takeover: whether it was taken from somebody who had let it run out.
    """

    row_id: str
    token: str
    wake_seq: int
    is_takeover: bool = False


async def acquire(
    session: AsyncSession, table: Table, *, row_id: str, seconds: float
) -> Lease | None:
    """Take the lease of a row if it is free, else None.

    Args:
        session: a transaction of its own.
        table: the row's table.
        row_id: the row.
        seconds: how long the lease holds without being extended.
    """
    token = secrets.token_hex(8)
    # What stands in the row before it is written: RETURNING tells only what stands there then.
    before = (
        select(table.c.id, table.c.lease_token)
        .where(table.c.id == row_id, _is_free(table))
        .with_for_update(key_share=True)
        .cte("before")
    )
    statement = (
        update(table)
        .where(table.c.id == before.c.id)
        .values(lease_token=token, lease_expires_at=_in(seconds))
        .returning(table.c.wake_seq, before.c.lease_token.is_not(None))
    )
    row = (await session.execute(statement)).one_or_none()
    if row is None:
        return None
    return Lease(row_id=row_id, token=token, wake_seq=row[0], is_takeover=row[1])


def due_statement(tables: Sequence[Table], *, limit: int) -> CompoundSelect[Any]:
    """Finds rows that are due and free: of each table the longest overdue ones.

    The time is that of the transaction. ``clock_timestamp()`` may change from row to row, so
    PostgreSQL would compare it with every row, those that are never due any more among them,
    instead of looking into the index. Run it in a transaction of its own.

    Args:
        tables: where to look; an idle worker looks in all of them every second.
        limit: how many of each.

    Returns:
        A statement for pairs of the table's name and the row's id.
    """
    parts = [
        select(literal(str(table.name), String).label("name"), table.c.id)
        .where(table.c.next_check_at <= func.now(), _is_free(table))
        .order_by(table.c.next_check_at)
        .limit(limit)
        .subquery()
        for table in tables
    ]
    return union_all(*(select(part) for part in parts))


async def extend(session: AsyncSession, table: Table, lease: Lease, *, seconds: float) -> bool:
    """Hold the lease for longer; False when somebody else has it now."""
    statement = (
        update(table)
        .where(table.c.id == lease.row_id, table.c.lease_token == lease.token)
        .values(lease_expires_at=_in(seconds))
        .returning(table.c.id)
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def holds(session: AsyncSession, table: Table, lease: Lease) -> bool:
    """Whether the lease still holds; locks the row until the transaction ends.

    Call it first in the transaction that applies a decision: nobody can take the lease
    over before that transaction has ended.
    """
    statement = (
        select(table.c.id)
        .where(table.c.id == lease.row_id, table.c.lease_token == lease.token)
        .with_for_update(key_share=True)
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


async def release(
    session: AsyncSession, table: Table, lease: Lease, *, check_in_seconds: float | None
) -> bool:
    """Give the lease back and say when to look again (None: only when woken).

    A wake that came meanwhile wins: the row stays due.

    Returns:
        Whether the row is due again at once.
    """
    planned = None if check_in_seconds is None else _in(check_in_seconds)
    statement = (
        update(table)
        .where(table.c.id == lease.row_id, table.c.lease_token == lease.token)
        .values(lease_token=None, lease_expires_at=None)
        .returning(table.c.wake_seq)
    )
    wake_seq = (await session.execute(statement)).scalar_one_or_none()
    if wake_seq is None:
        return False
    if wake_seq != lease.wake_seq:
        return True
    schedule = update(table).where(table.c.id == lease.row_id).values(next_check_at=planned)
    await session.execute(schedule)
    return False


def _is_free(table: Table):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return or_(table.c.lease_token.is_(None), table.c.lease_expires_at < func.clock_timestamp())


def _in(seconds: float):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return func.clock_timestamp() + timedelta(seconds=seconds)
