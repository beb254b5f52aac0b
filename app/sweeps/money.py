"""What a sweep with a `max_cost` has spent, keeps for its trials, and may still spend.

The rules are those of a workspace's budget, `app.costs.budget`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import inf, isfinite

from sqlalchemy.ext.asyncio import AsyncSession

from app.clusters import repository as clusters
from app.costs import budget, prices
from app.costs.budget import Account, Held
from app.costs.charges import Spending
from app.kernel.config import Settings
from app.runs.schemas import RunCreate
from app.tables.sweep import Trial


@dataclass(frozen=True)
class Purse:
    """The money of a sweep.

    Attributes:
        account: what it may spend and has spent.
        held: its trials that go on.
        next_cost: what is kept for the next trial.
    """

    account: Account
    held: tuple[Held, ...]
    next_cost: float

    @property
    def available(self) -> float:
        """What is neither spent nor kept."""
        return budget.available(self.account, self.held)

    @property
    def is_spent(self) -> bool:
        """Whether nothing is left, whatever is kept."""
        return budget.is_spent(self.account)

    @property
    def affordable(self) -> float:
        """For how many more trials there is enough; infinite where they cost nothing."""
        if self.next_cost == 0:
            return inf
        trials = self.available / self.next_cost + 1e-9
        return max(0, int(trials)) if isfinite(trials) else inf

    def to_stop(self) -> set[str]:
        """Runs that have used up what was kept for them, when nothing else is left."""
        return set(budget.to_stop({"": self.account}, self.held))

    def next_stop_seconds(self) -> float:
        """After how long a run may have to be stopped."""
        return budget.next_stop_seconds({"": self.account}, self.held)


def purse_of(
    max_cost: float, trials: Iterable[Trial], spending: Mapping[str, Spending], *, next_cost: float
) -> Purse:
    """The money of a sweep as it stands.

    Args:
        max_cost: the most that all trials together may cost.
        trials: of the sweep.
        spending: by run, of those that go on.
        next_cost: what is kept for the next trial.
    """
    spent, held = 0.0, []
    for trial in trials:
        if trial.outcome or trial.run_id is None:
            spent += trial.cost
            continue
        cost, per_second = spending.get(trial.run_id, Spending(0.0, 0.0))
        spent += cost
        held.append(Held(trial.run_id, "", per_second, spent=cost, reserved=trial.reserved))
    return Purse(Account(max_cost, spent), tuple(held), next_cost)


async def cost_of_trial(
    session: AsyncSession, settings: Settings, workspace_id: str, trial: RunCreate
) -> float:
    """The most that an attempt of a trial may cost; an hour of it where it has no limit."""
    cluster = await clusters.find(session, workspace_id, trial.cluster_name)
    if cluster is None:
        return 0.0  # its submission will be refused
    price = (await prices.current(session, settings)).get(cluster.vm_size, 0)
    return budget.reservation(
        price_per_node_hour=float(price),
        node_count=trial.node_count,
        limit_seconds=trial.max_run_duration_seconds or inf,
        left=trial.max_cost or inf,
    )
