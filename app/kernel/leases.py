"""Leases on reconciled rows: who may write, by database time, with a fencing token.

A row counts the takings that never came back. One that may be what ends its takers is taken by who
works on no other such row, so that it is known which it was, and later by nobody for a while.
"""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import Any

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Interval,
    Select,
    String,
    Table,
    Update,
    and_,
    bindparam,
    case,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

SUSPECT_AFTER = 2
"""From so many unfinished turns on a row is taken by itself; fewer are any death of a worker."""
SET_ASIDE_AFTER = 3
"""After so many it is set aside: its next turns are ever further apart."""
_SUSPECTS_AMONG = 1000
_ASIDE = "set-aside"
"""The token of nobody, on rows that are set aside."""


@dataclass(frozen=True)
class Lease:
    """A claim on one row.

    Attributes:
        row_id: the row.
        token: fencing token; a write counts only while the row still carries it.
        wake_seq: the row's wake counter when the lease was taken.
        is_takeover: whether it was taken from somebody who had let it run out.
        unfinished_turns: how many takings just before this one never came back.
    """

    row_id: str
    token: str
    wake_seq: int
    is_takeover: bool = False
    unfinished_turns: int = 0


async def acquire(
    session: AsyncSession, table: Table, *, row_id: str, seconds: float, is_alone: bool = False
) -> Lease | None:
    """Take the lease of a row if it is free, else None.

    Args:
        session: a transaction of its own.
        table: the row's table.
        row_id: the row.
        seconds: how long the lease holds without being extended.
        is_alone: whether the row may be a suspect; False: such a one is left alone.
    """
    token = secrets.token_hex(8)
    given = {"row_id": row_id, "token": token, "seconds": timedelta(seconds=seconds)}
    statement = _acquisition(table, is_alone=is_alone)
    row = (await session.execute(statement, given)).one_or_none()
    if row is None:
        return None
    wake_seq, old_token, unfinished_turns = row
    return Lease(
        row_id=row_id,
        token=token,
        wake_seq=wake_seq,
        is_takeover=old_token not in (None, _ASIDE),
        unfinished_turns=unfinished_turns,
    )


@cache
def _acquisition(table: Table, *, is_alone: bool) -> Update:
    # What stands in the row before it is written: RETURNING tells only what stands there then.
    before = (
        select(table.c.id, table.c.lease_token, table.c.unfinished_turns)
        .where(table.c.id == bindparam("row_id"), _is_free(table))
        .where(true() if is_alone else ~_is_suspect(table))
        .with_for_update(key_share=True)
        .cte("before")
    )
    return (
        update(table)
        .where(table.c.id == before.c.id)
        .values(
            lease_token=bindparam("token"),
            lease_expires_at=func.clock_timestamp() + bindparam("seconds", type_=Interval),
            unfinished_turns=before.c.unfinished_turns + 1,
        )
        .returning(table.c.wake_seq, before.c.lease_token, before.c.unfinished_turns)
    )


def due_statement(tables: Sequence[Table], *, limit: int) -> CompoundSelect[Any]:
    """Finds rows that are due and free: of each table the longest overdue ones, and one suspect.

    The time is that of the transaction. ``clock_timestamp()`` may change from row to row, so
    PostgreSQL would compare it with every row, those that are never due any more among them,
    instead of looking into the index. Run it in a transaction of its own.

    Args:
        tables: where to look; an idle worker looks in all of them every second.
        limit: how many of each, beside the suspect: others must not wait behind many of these.

    Returns:
        A statement for the table's name, the row's id, and whether it is a suspect.
    """
    return union_all(
        *(
            select(part.subquery())
            for table in tables
            for part in (_due(table).where(~_is_suspect(table)).limit(limit), _due_suspect(table))
        )
    )


def _due(table: Table) -> Select[Any]:
    return (
        select(
            literal(str(table.name), String).label("name"),
            table.c.id,
            literal(value=False).label("is_suspect"),
        )
        .where(table.c.next_check_at <= func.now(), _is_free(table))
        .order_by(table.c.next_check_at)
    )


def _due_suspect(table: Table) -> Select[Any]:
    """One suspect among the longest overdue: mostly there is none, and all would be looked at.

    One that stands behind these is found as soon as they have had their turns. An index of suspects
    would be written to with every lease.
    """
    columns = (table.c.next_check_at, table.c.unfinished_turns)
    longest = _due(table).add_columns(*columns).limit(_SUSPECTS_AMONG).subquery()
    return (
        select(longest.c.name, longest.c.id, literal(value=True).label("is_suspect"))
        .where(longest.c.unfinished_turns >= SUSPECT_AFTER)
        .order_by(longest.c.next_check_at)
        .limit(1)
    )


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
) -> bool | None:
    """Give the lease back and say when to look again (None: only when woken).

    A wake that came meanwhile wins: the row stays due.

    Returns:
        Whether the row is due again at once; None: somebody else has it by now.
    """
    planned = None if check_in_seconds is None else _in(check_in_seconds)
    statement = (
        update(table)
        .where(table.c.id == lease.row_id, table.c.lease_token == lease.token)
        .values(lease_token=None, lease_expires_at=None, unfinished_turns=0)
        .returning(table.c.wake_seq)
    )
    wake_seq = (await session.execute(statement)).scalar_one_or_none()
    if wake_seq is None:
        return None
    if wake_seq != lease.wake_seq:
        return True
    schedule = update(table).where(table.c.id == lease.row_id).values(next_check_at=planned)
    await session.execute(schedule)
    return False


async def break_off(session: AsyncSession, table: Table, lease: Lease) -> None:
    """Say that a taking has come back, though without an end, or too late: it does not count.

    Where the lease is held still it runs out, and whoever takes it over need not wonder. What was
    set aside for takings that have come back is free again; what was before them, has the turn
    that it should have had.
    """
    left = func.greatest(table.c.unfinished_turns - 1, 0)
    is_mine, is_aside = table.c.lease_token == lease.token, left >= SET_ASIDE_AFTER
    is_wrongly_aside = and_(table.c.lease_token == _ASIDE, ~is_aside)
    statement = (
        update(table)
        .where(table.c.id == lease.row_id)
        .values(
            unfinished_turns=left,
            lease_token=case((and_(is_mine, is_aside), _ASIDE), else_=table.c.lease_token),
            lease_expires_at=case(
                (is_wrongly_aside, func.clock_timestamp()), else_=table.c.lease_expires_at
            ),
        )
    )
    await session.execute(statement)


async def set_aside(session: AsyncSession, table: Table, lease: Lease, *, seconds: float) -> bool:
    """Give the lease back in such a way that nobody takes it for so long, whoever wakes the row.

    The row stays due, and keeps its count: this turn did not do what the others died of. If some
    of these have come back meanwhile, it is free.

    Returns:
        False: somebody else has it by now.
    """
    left = table.c.unfinished_turns - 1
    statement = (
        update(table)
        .where(table.c.id == lease.row_id, table.c.lease_token == lease.token)
        .values(
            lease_token=_ASIDE,
            lease_expires_at=case(
                (left < SET_ASIDE_AFTER, func.clock_timestamp()), else_=_in(seconds)
            ),
            unfinished_turns=left,
        )
        .returning(table.c.id)
    )
    return (await session.execute(statement)).scalar_one_or_none() is not None


def is_set_aside(table: Table) -> ColumnElement[bool]:
    """Whether so many turns of a row never came back; such a row is always due."""
    return table.c.unfinished_turns >= SET_ASIDE_AFTER


def _is_suspect(table: Table) -> ColumnElement[bool]:
    return table.c.unfinished_turns >= SUSPECT_AFTER


def _is_free(table: Table):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return or_(table.c.lease_token.is_(None), table.c.lease_expires_at < func.clock_timestamp())


def _in(seconds: float):  # type: ignore[no-untyped-def]  # noqa: ANN202
    return func.clock_timestamp() + timedelta(seconds=seconds)
