"""What may still be spent, what is kept for whom, and who has to stop: pure functions.

Whoever gets nodes has so much of the workspace's budget kept for them as they may cost at most. A
run that goes on beyond that lives on what is kept for nobody; when nothing of it is left, it is
stopped, and those with something kept go on.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from math import inf

UNLIMITED_SECONDS = 3600.0
"""For a run without any limit, so much of its time is kept at first."""
_HOUR_SECONDS = 3600.0
# Of a currency's smallest coin much less: what is lost in rounding is no debt.
_ROUNDING = 1e-6
BUDGET_SPENT = "budget_spent"
MAX_COST_SPENT = "max_cost_spent"


@dataclass(frozen=True, slots=True)
class Account:
    """A workspace with a budget.

    Attributes:
        amount: the budget, for this period.
        spent: in this period, by everybody, by now.
        period_ends_at: when everything of it is free again; None: never.
    """

    amount: float
    spent: float
    period_ends_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Held:
    """An attempt that has nodes.

    Attributes:
        run_id: its run.
        workspace_id: whose budget it is.
        per_second: what a second costs.
        spent: what the attempt cost by now.
        reserved: what was kept for it when it got its nodes.
        run_spent: what all attempts of the run cost by now.
        max_cost: the most that the run may cost; infinite without a limit.
        is_ending: its end has been asked for, or its script is over.
    """

    run_id: str
    workspace_id: str
    per_second: float
    spent: float
    reserved: float
    run_spent: float = 0.0
    max_cost: float = inf
    is_ending: bool = False

    @property
    def may_be_stopped(self) -> bool:
        """Whether stopping it saves anything."""
        return self.per_second > 0 and not self.is_ending

    @property
    def kept(self) -> float:
        """What is still kept for it."""
        return max(0.0, self.reserved - self.spent)

    @property
    def is_beyond(self) -> bool:
        """Whether nothing is kept for it any more."""
        return self.spent >= self.reserved - _ROUNDING


def reservation(
    *, price_per_node_hour: float, node_count: int, limit_seconds: float, left: float = inf
) -> float:
    """What is kept for an attempt: the most that it may cost, or an hour where it has no limit.

    Args:
        price_per_node_hour: of each node.
        node_count: how many it gets.
        limit_seconds: it is ended after so long; infinite without a limit.
        left: of what its run may cost at most; infinite without a limit.
    """
    per_second = price_per_node_hour * node_count / _HOUR_SECONDS
    if per_second == 0:
        return 0.0
    if limit_seconds == inf and left == inf:
        return per_second * UNLIMITED_SECONDS
    return max(0.0, min(per_second * limit_seconds, left))


def available(account: Account, held: Sequence[Held]) -> float:
    """What is neither spent nor kept for anybody; negative when there is less than that.

    Args:
        account: of the workspace.
        held: what has nodes in it.
    """
    return account.amount - account.spent - sum(item.kept for item in held)


def is_spent(account: Account) -> bool:
    """Whether the whole amount is gone, whatever is kept for whom."""
    return account.spent >= account.amount - _ROUNDING


def covers(left: float, cost: float) -> bool:
    """Whether so much may still be kept; what costs nothing always may."""
    return cost == 0 or cost <= left + _ROUNDING


def to_stop(accounts: Mapping[str, Account], held: Sequence[Held]) -> dict[str, str]:
    """Runs that have to stop, each with the code that says why.

    Args:
        accounts: of workspaces with a budget, by id.
        held: everything that has nodes.
    """
    found = {
        item.run_id: MAX_COST_SPENT
        for item in held
        if item.may_be_stopped and item.run_spent >= item.max_cost - _ROUNDING
    }
    for workspace_id, account in accounts.items():
        mine = [item for item in held if item.workspace_id == workspace_id]
        is_promised = available(account, mine) <= _ROUNDING
        for item in mine:
            if item.may_be_stopped and (is_spent(account) or (is_promised and item.is_beyond)):
                found.setdefault(item.run_id, BUDGET_SPENT)
    return found


def next_stop_seconds(accounts: Mapping[str, Account], held: Sequence[Held]) -> float:
    """After how long `to_stop` may have something new to say; infinite: not before a change.

    Args:
        accounts: of workspaces with a budget, by id.
        held: everything that has nodes.
    """
    pauses = [
        (item.max_cost - item.run_spent) / item.per_second
        for item in held
        if item.may_be_stopped and item.max_cost < inf
    ]
    for workspace_id, account in accounts.items():
        mine = [item for item in held if item.workspace_id == workspace_id]
        if any(item.may_be_stopped for item in mine):
            rate = sum(item.per_second for item in mine)
            pauses.append((account.amount - account.spent) / rate)
            pauses.append(_until_nothing_is_left(account, mine))
    return max(0.0, min(pauses, default=inf))


def _until_nothing_is_left(account: Account, held: Sequence[Held]) -> float:
    """After how long those beyond what was kept for them have used up what is kept for nobody."""
    left, rate, at = available(account, held), 0.0, 0.0
    costing = [item for item in held if item.per_second > 0]
    beyond = sorted((item.kept / item.per_second, item.per_second) for item in costing)
    for begins, per_second in beyond:
        if rate > 0 and left / rate <= begins - at:
            break
        left -= rate * (begins - at)
        rate, at = rate + per_second, begins
    return at + max(0.0, left) / rate
