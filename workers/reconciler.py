"""What a reconciler is: it moves the rows of one table, each under a hold of its own.

A reconciler does load → decide → act → apply for one row. Whatever ends it (an error, a kill)
only ends the lease: the row is due again, and the next one goes on from what the rows say.
"""

from typing import Protocol, runtime_checkable

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel import leases
from app.kernel.db import Database
from app.kernel.leases import Lease

WORKER_DIED = "WorkerDied"
"""What rows say, in place of the type of an error, when turns on them never came back."""


class LeaseLost(Exception):
    """Somebody newer owns the row: drop the result."""


class Guard:
    """A reconciler's hold on its row."""

    def __init__(self, database: Database, table: Table, lease: Lease) -> None:
        self._database = database
        self._table = table
        self.lease = lease

    async def check(self, session: AsyncSession) -> None:
        """Call first in every transaction that writes; locks the row.

        Raises:
            LeaseLost: the lease is somebody else's now.
        """
        if not await leases.holds(session, self._table, self.lease):
            raise LeaseLost(self.lease.row_id)


class Reconciler(Protocol):
    """Moves the rows of one table towards their desired state."""

    table: Table

    async def reconcile(self, guard: Guard) -> float | None:
        """Do what can be done now for the row ``guard.lease.row_id``.

        No session is open during a call to the outside; every write begins with
        ``guard.check(session)``.

        Returns:
            Seconds until the row should be looked at again; None: only when woken.
        """


@runtime_checkable
class SaysFailures(Protocol):
    """A reconciler whose rows say themselves that looks at them fail."""

    async def say_failed(self, guard: Guard, error: str) -> None:
        """Let the row say so; a look that ends well takes it back.

        Args:
            guard: the hold on the row.
            error: the type of the error.
        """


@runtime_checkable
class GivesUp(Protocol):
    """A reconciler whose rows may end as failed."""

    async def give_up(self, guard: Guard, turns: int) -> bool:
        """End what the row stands for: worker after worker died of it.

        It touches as little as possible, so as not to die of the same.

        Args:
            guard: the hold on the row.
            turns: how many never came back.

        Returns:
            Whether the row has changed; False: it has its end, and is set aside.
        """
