"""Budgets of workspaces: setting them, and how they stand."""

from decimal import Decimal

from sqlalchemy.ext.asyncio import AsyncSession

from app.costs import accounts
from app.costs.periods import bounds
from app.costs.schemas import BudgetPut, BudgetRead
from app.kernel.clock import utc_now
from app.kernel.config import Settings
from app.kernel.errors import NotFound
from app.planning.service import wake_planner
from app.tables.cost import Budget


class BudgetNotFound(NotFound):
    """The workspace has none: it may spend what it likes."""

    code = "budget_not_found"


async def find(session: AsyncSession, workspace_id: str) -> Budget | None:
    """The budget of a workspace as it is now, if it has one."""
    return await session.get(Budget, workspace_id, populate_existing=True)


async def get(session: AsyncSession, workspace_id: str) -> Budget:
    """The budget of a workspace.

    Raises:
        BudgetNotFound: it has none.
    """
    row = await find(session, workspace_id)
    if row is None:
        raise BudgetNotFound("The workspace has no budget: its runs may cost what they like.")
    return row


async def put(
    session: AsyncSession, row: Budget | None, workspace_id: str, body: BudgetPut
) -> Budget:
    """Set the budget; call `lock` before anything is read."""
    if row is None:
        row = Budget(workspace_id=workspace_id)
        session.add(row)
    row.amount = Decimal(str(body.amount))
    row.period = body.period
    await session.flush()
    await session.refresh(row)
    return row


async def lock(session: AsyncSession) -> None:
    """Keep the planner from giving nodes by another budget; it looks again afterwards."""
    await wake_planner(session)


async def read(session: AsyncSession, settings: Settings, row: Budget) -> BudgetRead:
    """How a budget stands now."""
    found = await accounts.load(session, row.workspace_id)
    account = found.of_workspace[row.workspace_id]
    begins, ends = bounds(row.period, utc_now())
    kept = sum(item.kept for item in found.held if item.workspace_id == row.workspace_id)
    return BudgetRead(
        amount=float(row.amount),
        period=row.period,
        currency=settings.currency,
        period_started_at=None if row.period == "total" else begins,
        period_ends_at=ends,
        spent=round(account.spent, 2),
        reserved=round(kept, 2),
        available=round(account.amount - account.spent - kept, 2),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )
