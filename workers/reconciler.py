"""The engine of all reconcilers: due rows are leased, worked on, and given back.

A reconciler does load → decide → act → apply for one row. Whatever ends it (an error, a kill)
only ends the lease: the row is due again, and the next one goes on from what the rows say.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from contextvars import Context
from typing import Any, Protocol, runtime_checkable

import structlog
from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel import leases
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.db import Database
from app.kernel.direct import Statement
from app.kernel.errors import DomainError, Unavailable
from app.kernel.leases import Lease
from app.kernel.odd_rows import ODD
from workers import measures
from workers.pulse import Pulse

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_BATCH = 20
_log = structlog.get_logger(__name__)


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


class Engine:
    """Runs the reconcilers of a process."""

    def __init__(
        self,
        database: Database,
        reconcilers: Sequence[Reconciler],
        *,
        lease_seconds: float,
        poll_seconds: float,
        pulse: Pulse | None = None,
    ) -> None:
        """Make the engine.

        Args:
            database: where the rows are.
            reconcilers: one a table.
            lease_seconds: how long a row is held without a sign of life.
            poll_seconds: how long to wait between two looks.
            pulse: told of every look; None: nobody asks.
        """
        self._database = database
        self._reconcilers = {r.table.name: r for r in reconcilers}
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._pulse = pulse or Pulse()
        self._running: set[tuple[str, str]] = set()
        self._hinted_again: set[tuple[str, str]] = set()
        self._failures: dict[tuple[str, str], int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def hint(self, topic: str, row_id: str) -> None:
        """Look at a row now; called in the loop."""
        if topic in self._reconcilers:
            self._start(self._reconcilers[topic], row_id)

    async def poll_forever(self) -> None:
        """Find the due rows that nobody announced."""
        tables = [reconciler.table for reconciler in self._reconcilers.values()]
        statement = Statement(leases.due_statement(tables, limit=_BATCH))
        while True:
            try:
                for name, row_id in await self._due(statement):
                    self._start(self._reconcilers[name], row_id)
                self._pulse.note_look()
            except Unavailable as error:
                self._pulse.note_failed_look(str(error))
                _log.warning("poll_failed", error=str(error))
            await asyncio.sleep(self._poll_seconds)

    async def _due(self, statement: Statement) -> Sequence[Any]:
        look = asyncio.ensure_future(self._database.direct.rows(statement))
        try:
            return await asyncio.shield(look)
        except asyncio.CancelledError:
            # A connection whose statement is broken off is lost to the pool.
            with suppress(Unavailable):
                await look
            raise

    async def close(self) -> None:
        """End the work in hand; its leases run out and others go on from what the rows say."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, reconciler: Reconciler, row_id: str) -> None:
        key = (reconciler.table.name, row_id)
        if key in self._running:
            self._hinted_again.add(key)
            return
        self._running.add(key)
        # Whoever hinted at it may be working on another row, whose name is in its log lines.
        task = asyncio.create_task(self._work(reconciler, row_id), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, reconciler: Reconciler, row_id: str) -> None:
        key = (reconciler.table.name, row_id)
        try:
            with structlog.contextvars.bound_contextvars(table=key[0], row_id=row_id):
                while await self._once(reconciler, row_id) or key in self._hinted_again:
                    self._hinted_again.discard(key)
        except SQLAlchemyError as error:
            _log.warning("reconcile_interrupted", error=str(error).splitlines()[0])
        finally:
            self._running.discard(key)
            self._hinted_again.discard(key)

    async def _once(self, reconciler: Reconciler, row_id: str) -> bool:
        table = reconciler.table
        async with self._database.session() as session:
            lease = await leases.acquire(session, table, row_id=row_id, seconds=self._lease_seconds)
        if lease is None:
            return False
        if lease.is_takeover:
            measures.LEASE_TAKEOVERS.labels(table.name).inc()
            _log.warning("lease_taken_over")
        guard = Guard(self._database, table, lease)
        reached(CrashPoint.LEASE_TAKEN)
        extender = asyncio.create_task(self._extend(table, lease))
        try:
            with measures.reconciliation(table.name, lost=LeaseLost):
                check_in = await reconciler.reconcile(guard)
            self._failures.pop((table.name, row_id), None)
        except LeaseLost:
            measures.LEASE_LOSSES.labels(table.name).inc()
            _log.warning("lease_lost")
            return False
        except Exception as error:
            # A defect or an outage in one row must not end the loop that serves all others;
            # it is reported in full, and the row is tried again, ever more seldom.
            check_in = self._pause((table.name, row_id))
            _log.exception("reconcile_failed", again_in_seconds=check_in)
            await self._say(reconciler, guard, error)
        finally:
            extender.cancel()
            with suppress(asyncio.CancelledError):
                await extender
        reached(CrashPoint.RECONCILED)
        async with self._database.session() as session:
            return await leases.release(session, table, lease, check_in_seconds=check_in)

    async def _say(self, reconciler: Reconciler, guard: Guard, error: Exception) -> None:
        """Let a row tell its readers; what fails once may be an outage, and is not told."""
        is_again = self._failures[reconciler.table.name, guard.lease.row_id] > 1
        if not is_again or not isinstance(reconciler, SaysFailures):
            return
        try:
            await reconciler.say_failed(guard, type(error).__name__)
        except (LeaseLost, DomainError, SQLAlchemyError, *ODD) as problem:
            _log.warning("failure_not_said", error=str(problem).partition("\n")[0])

    def _pause(self, key: tuple[str, str]) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        pause: float = min(_FIRST_PAUSE_SECONDS * 2 ** (failures - 1), _LONGEST_PAUSE_SECONDS)
        return pause

    async def _extend(self, table: Table, lease: Lease) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            try:
                async with self._database.session() as session:
                    await leases.extend(session, table, lease, seconds=self._lease_seconds)
            except SQLAlchemyError as error:
                _log.warning("lease_not_extended", error=str(error).splitlines()[0])
