"""What workspaces with a budget have spent, and what is kept for whom, out of the rows.

Whoever decides by it holds the planner's row: nobody then gives nodes or changes budgets.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf
from typing import Any

from sqlalchemy import Float, Select, bindparam, cast, func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.costs import budget
from app.costs.budget import Account, Held
from app.costs.charges import amount
from app.costs.periods import Period, bounds
from app.kernel.clock import database_now
from app.kernel.odd_rows import ODD, number_or_inf
from app.tables.cost import Budget, Charge
from app.tables.run import Run

_ENDING = ("CancelRequested", "Finalizing")


@dataclass(frozen=True)
class Accounts:
    """The state of all budgets.

    Attributes:
        of_workspace: those with a budget, by id.
        held: attempts that have nodes and that a budget, or their own limit, may stop.
    """

    of_workspace: Mapping[str, Account]
    held: Sequence[Held]

    def available(self) -> dict[str, float]:
        """What each workspace with a budget may still spend, by id."""
        return {
            key: budget.available(account, [h for h in self.held if h.workspace_id == key])
            for key, account in self.of_workspace.items()
        }

    def to_stop(self) -> dict[str, str]:
        """Runs that have to stop, each with the code that says why."""
        return budget.to_stop(self.of_workspace, self.held)

    def next_stop_seconds(self) -> float:
        """After how long somebody may have to stop."""
        return budget.next_stop_seconds(self.of_workspace, self.held)


async def load(session: AsyncSession, workspace_id: str | None = None) -> Accounts:
    """Read all accounts, or that of one workspace."""
    now = await database_now(session)
    statement = select(Budget.workspace_id, Budget.amount, Budget.period)
    if workspace_id is not None:
        statement = statement.where(Budget.workspace_id == workspace_id)
    found = (await session.execute(statement)).all()
    spent: dict[str, float] = {}
    for period in sorted({row.period for row in found}):
        ids = [row.workspace_id for row in found if row.period == period]
        spent |= await _spent(session, ids, period, now)
    accounts = {
        row.workspace_id: Account(
            float(row.amount), spent.get(row.workspace_id, 0.0), bounds(row.period, now)[1]
        )
        for row in found
    }
    return Accounts(accounts, await _held(session, list(accounts), workspace_id))


async def _spent(
    session: AsyncSession, workspace_ids: Sequence[str], period: Period, now: datetime
) -> dict[str, float]:
    since, _ = bounds(period, now)
    is_later = or_(Charge.ended_at.is_(None), Charge.ended_at > since)
    statement = (
        select(Charge.workspace_id, cast(func.sum(amount(since)), Float))
        .where(Charge.workspace_id.in_(workspace_ids), is_later)
        .group_by(Charge.workspace_id)
    )
    return {key: value for key, value in await session.execute(statement)}  # noqa: C416


async def _held(
    session: AsyncSession, with_budget: Sequence[str], workspace_id: str | None
) -> list[Held]:
    statement = _HELD
    if workspace_id is not None:
        statement = statement.where(Charge.workspace_id == workspace_id)
    rows = await session.execute(statement, {"with_budget": list(with_budget)})
    return [_read(row) for row in rows]


def _of_held() -> Select[Any]:
    # As text: a database that is to make a number of what is none refuses all rows.
    max_cost = Run.request["max_cost"].as_string()
    every = aliased(Charge)
    run_spent = (
        select(func.sum(amount(charge=every)))
        .where(every.run_id == Charge.run_id)
        .correlate(Charge)
        .scalar_subquery()
    )
    per_second = Charge.price_per_node_hour * Charge.node_count / 3600
    has_budget = Charge.workspace_id.in_(bindparam("with_budget", expanding=True))
    return (
        select(
            Charge.run_id,
            Charge.workspace_id,
            cast(per_second, Float).label("per_second"),
            cast(amount(), Float).label("spent"),
            cast(Charge.reserved, Float).label("reserved"),
            cast(run_spent, Float).label("run_spent"),
            max_cost.label("max_cost"),
            Run.status.in_(_ENDING).label("is_ending"),
        )
        .join(Run, Run.id == Charge.run_id)
        .where(Charge.ended_at.is_(None), or_(has_budget, max_cost.is_not(None)))
    )


_HELD = _of_held()
"""Made once: every plan asks it three times, and to put it together costs more than to ask it."""


def _read(row: Any) -> Held:
    try:
        max_cost = number_or_inf(row.max_cost)
    except ODD:
        max_cost = inf  # the planner tells of it
    return Held(
        run_id=row.run_id,
        workspace_id=row.workspace_id,
        per_second=row.per_second,
        spent=row.spent,
        reserved=row.reserved,
        run_spent=row.run_spent,
        is_ending=row.is_ending,
        max_cost=max_cost,
    )
