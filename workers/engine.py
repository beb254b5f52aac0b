"""The engine of all reconcilers: due rows are leased, worked on, and given back.

What ends worker after worker is set aside, and looked at ever more seldom.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, nullcontext, suppress
from contextvars import Context
from typing import Any

import structlog
from sqlalchemy import Table
from sqlalchemy.exc import SQLAlchemyError

from app.kernel import leases
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.db import Database
from app.kernel.direct import Statement
from app.kernel.errors import DomainError, Unavailable
from app.kernel.leases import Lease
from app.kernel.odd_rows import ODD
from workers import measures
from workers.pulse import Pulse
from workers.reconciler import WORKER_DIED, GivesUp, Guard, LeaseLost, Reconciler, SaysFailures

_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 60.0
_BATCH = 20
_FIRST_TIME_ASIDE_SECONDS = 60.0
_LONGEST_TIME_ASIDE_SECONDS = 1800.0
_LONGEST_WAIT_SECONDS = 60.0
_BREAK_OFF_SECONDS = 1.0
_GIVEN_UP_AFTER = 6
"""Turns in a row that ended their worker; with the times between them, some eight minutes."""
_log = structlog.get_logger(__name__)
_NOT_WRITTEN = (LeaseLost, DomainError, SQLAlchemyError, *ODD)
"""What may keep a row from saying that it fails."""


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
        self._is_closing = False
        self._held: dict[str, tuple[Table, Lease]] = {}
        self._one_suspect = asyncio.Lock()

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
                for name, row_id, is_suspect in await self._due(statement):
                    if (name, row_id) not in self._running:
                        self._start(self._reconcilers[name], row_id, is_suspect=is_suspect)
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
        self._is_closing = True
        # Before it is ended, which may take longer than there is time; who has locked its row
        # itself breaks off in the end.
        with suppress(TimeoutError, SQLAlchemyError):
            async with asyncio.timeout(_BREAK_OFF_SECONDS):
                for token in list(self._held):
                    await self._break_off(token)
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _start(self, reconciler: Reconciler, row_id: str, *, is_suspect: bool = False) -> None:
        key = (reconciler.table.name, row_id)
        if self._is_closing:
            return
        if key in self._running:
            self._hinted_again.add(key)
            return
        self._running.add(key)
        # Whoever hinted at it may be working on another row, whose name is in its log lines.
        work = self._work(reconciler, row_id, is_suspect=is_suspect)
        task = asyncio.create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _work(self, reconciler: Reconciler, row_id: str, *, is_suspect: bool) -> None:
        key = (reconciler.table.name, row_id)
        alone = self._alone() if is_suspect else nullcontext()
        try:
            with structlog.contextvars.bound_contextvars(table=key[0], row_id=row_id):
                async with alone:
                    while (
                        await self._once(reconciler, row_id, is_alone=is_suspect)
                        or key in self._hinted_again
                    ):
                        self._hinted_again.discard(key)
        except SQLAlchemyError as error:
            _log.warning("reconcile_interrupted", error=str(error).splitlines()[0])
        finally:
            self._running.discard(key)
            self._hinted_again.discard(key)

    @asynccontextmanager
    async def _alone(self) -> AsyncIterator[None]:
        """Let no other suspect be in hand, unless it has been for so long that it may be right."""
        try:
            async with asyncio.timeout(_LONGEST_WAIT_SECONDS):
                await self._one_suspect.acquire()
        except TimeoutError:
            yield
            return
        try:
            yield
        finally:
            self._one_suspect.release()

    async def _once(self, reconciler: Reconciler, row_id: str, *, is_alone: bool) -> bool:
        table = reconciler.table
        async with self._database.session() as session:
            lease = await leases.acquire(
                session, table, row_id=row_id, seconds=self._lease_seconds, is_alone=is_alone
            )
        if lease is None:
            return False
        guard = Guard(self._database, table, lease)
        self._held[lease.token] = (table, lease)
        try:
            if lease.is_takeover:
                measures.LEASE_TAKEOVERS.labels(table.name).inc()
                _log.warning("lease_taken_over", unfinished_turns=lease.unfinished_turns)
                if lease.unfinished_turns >= leases.SET_ASIDE_AFTER:
                    return await self._set_aside(reconciler, guard)
            return await self._turn(reconciler, guard)
        except LeaseLost:
            measures.LEASE_LOSSES.labels(table.name).inc()
            _log.warning("lease_lost")
            await self._break_off(lease.token)
            return False
        except BaseException:
            # The process lives, and is told to stop or lacks its database: no doing of the row.
            with suppress(SQLAlchemyError):
                await self._break_off(lease.token)
            raise
        finally:
            self._held.pop(lease.token, None)

    async def _break_off(self, token: str) -> None:
        held = self._held.pop(token, None)
        if held is None:
            return
        table, lease = held
        try:
            async with self._database.session() as session:
                await leases.break_off(session, table, lease)
        except BaseException:
            self._held[token] = held
            raise

    async def _turn(self, reconciler: Reconciler, guard: Guard) -> bool:
        table, lease = reconciler.table, guard.lease
        row_id = lease.row_id
        reached(CrashPoint.LEASE_TAKEN)
        extender = asyncio.create_task(self._extend(table, lease))
        try:
            with measures.reconciliation(table.name, lost=LeaseLost):
                check_in = await reconciler.reconcile(guard)
            self._failures.pop((table.name, row_id), None)
        except LeaseLost:
            raise
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
            is_due = await leases.release(session, table, lease, check_in_seconds=check_in)
        if is_due is None:
            raise LeaseLost
        return is_due

    async def _say(self, reconciler: Reconciler, guard: Guard, error: Exception) -> None:
        """Let a row tell its readers; what fails once may be an outage, and is not told."""
        is_again = self._failures[reconciler.table.name, guard.lease.row_id] > 1
        if not is_again or not isinstance(reconciler, SaysFailures):
            return
        try:
            await reconciler.say_failed(guard, type(error).__name__)
        except _NOT_WRITTEN as problem:
            _log.warning("failure_not_said", error=str(problem).partition("\n")[0])

    async def _set_aside(self, reconciler: Reconciler, guard: Guard) -> bool:
        """Leave alone what ended worker after worker, for a while or for good; says if it is due.

        Saying so reads the row, which may be what they died of: the lease is made as long before.
        """
        table, lease = reconciler.table, guard.lease
        times_before = lease.unfinished_turns - leases.SET_ASIDE_AFTER
        pause = _doubled(_FIRST_TIME_ASIDE_SECONDS, times_before, most=_LONGEST_TIME_ASIDE_SECONDS)
        async with self._database.session() as session:
            is_held = await leases.extend(session, table, lease, seconds=pause)
        if not is_held:
            raise LeaseLost
        _log.error("row_set_aside", unfinished_turns=lease.unfinished_turns, again_in_seconds=pause)
        is_given_up = False
        try:
            if lease.unfinished_turns >= _GIVEN_UP_AFTER and isinstance(reconciler, GivesUp):
                is_given_up = await reconciler.give_up(guard, lease.unfinished_turns)
            elif isinstance(reconciler, SaysFailures):
                await reconciler.say_failed(guard, WORKER_DIED)
        except LeaseLost:
            raise
        except _NOT_WRITTEN as problem:
            _log.warning("failure_not_said", error=str(problem).partition("\n")[0])
        async with self._database.session() as session:
            if is_given_up:
                is_due = await leases.release(session, table, lease, check_in_seconds=0.0)
                is_held = is_due is not None
            else:
                is_held = await leases.set_aside(session, table, lease, seconds=pause)
        if not is_held:
            raise LeaseLost
        return is_given_up

    def _pause(self, key: tuple[str, str]) -> float:
        failures = self._failures[key] = self._failures.get(key, 0) + 1
        return _doubled(_FIRST_PAUSE_SECONDS, failures - 1, most=_LONGEST_PAUSE_SECONDS)

    async def _extend(self, table: Table, lease: Lease) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            try:
                async with self._database.session() as session:
                    await leases.extend(session, table, lease, seconds=self._lease_seconds)
            except SQLAlchemyError as error:
                _log.warning("lease_not_extended", error=str(error).splitlines()[0])


def _doubled(seconds: float, times: int, *, most: float) -> float:
    # No float holds what a thousand doublings make.
    return min(seconds * 2.0 ** min(times, 20), most)
