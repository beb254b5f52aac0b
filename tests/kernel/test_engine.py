"""Leases and the engine: one owner a row, nothing lost, nothing done by a stale owner."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Table, delete, text, update
from sqlalchemy.dialects import postgresql

from app.kernel import leases
from app.kernel.ids import new_id
from app.kernel.wake import wake
from app.tables.planning import ALL, Planning
from app.tables.run import Run
from tests.health.figures import read, value
from tests.live_api import LiveApi, live_api
from tests.waiting import until
from workers.engine import Engine
from workers.pulse import Pulse
from workers.reconciler import Guard, LeaseLost

pytestmark = pytest.mark.anyio
TABLE = cast("Table", Planning.__table__)


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api
        async with api.database.session() as session:
            await session.execute(delete(Planning).where(Planning.id != ALL))


async def make_row(api: LiveApi) -> str:
    """A reconciled row that nothing else looks at."""
    row_id = new_id("plan")
    async with api.database.session() as session:
        session.add(Planning(id=row_id))
    return row_id


@asynccontextmanager
async def polling(engine: Engine) -> AsyncIterator[None]:
    """Let an engine poll for the block, and leave nothing of it running."""
    task = asyncio.create_task(engine.poll_forever())
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await engine.close()


class Recorder:
    """A reconciler that runs a function of the test."""

    table = TABLE

    def __init__(self, work: Callable[[Guard], Awaitable[float | None]]) -> None:
        self._work = work

    async def reconcile(self, guard: Guard) -> float | None:
        return await self._work(guard)


async def test_a_lease_has_one_holder(api: LiveApi) -> None:
    row_id = await make_row(api)

    async def take() -> bool:
        async with api.database.session() as session:
            lease = await leases.acquire(session, TABLE, row_id=row_id, seconds=30)
            return lease is not None

    taken = await asyncio.gather(*(take() for _ in range(8)))
    assert sum(taken) == 1


async def test_rows_that_are_never_due_again_are_not_looked_at(api: LiveApi) -> None:
    tables = [TABLE, cast("Table", Run.__table__)]
    statement = leases.due_statement(tables, limit=20).compile(
        dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
        compile_kwargs={"literal_binds": True},
    )
    async with api.database.session() as session:
        # So few rows would be read one by one, with or without an index.
        await session.execute(text("SET LOCAL enable_seqscan = off"))
        await session.execute(text("SET LOCAL enable_sort = off"))
        plan = "\n".join(await session.scalars(text(f"EXPLAIN {statement}")))
    # Once for a suspect, once for all others.
    assert plan.count("Index Cond: (next_check_at <= now())") == 2 * len(tables), plan


@pytest.mark.fault(7)
async def test_a_stale_holder_cannot_write(api: LiveApi) -> None:
    row_id = await make_row(api)
    async with api.database.session() as session:
        old = await leases.acquire(session, TABLE, row_id=row_id, seconds=-1)
    async with api.database.session() as session:
        new = await leases.acquire(session, TABLE, row_id=row_id, seconds=30)
    assert old is not None
    assert new is not None
    with pytest.raises(LeaseLost):
        async with api.database.session() as session:
            await Guard(api.database, TABLE, old).check(session)
    async with api.database.session() as session:
        await Guard(api.database, TABLE, new).check(session)


async def test_leases_that_are_lost_and_taken_over_are_counted(api: LiveApi) -> None:
    row_id = await make_row(api)
    before = await read(api)
    done = asyncio.Event()

    async def work(guard: Guard) -> float | None:
        if guard.lease.row_id != row_id:
            return None
        if guard.lease.is_takeover:
            done.set()
            return None
        async with api.database.session() as session:
            # As if this worker had stood still for longer than its lease.
            gone = {"lease_token": "another", "lease_expires_at": text("now() - interval '1 s'")}
            await session.execute(update(TABLE).where(TABLE.c.id == row_id).values(gone))
        async with api.database.session() as session:
            await guard.check(session)
        raise AssertionError("the lease was lost")

    engine = Engine(api.database, [Recorder(work)], lease_seconds=30, poll_seconds=0.02)
    async with polling(engine), asyncio.timeout(20):
        await done.wait()

        async def are_counted() -> bool:
            after = await read(api)
            return all(
                (value(after, name, **labels) or 0) - (value(before, name, **labels) or 0) == 1
                for name, labels in (
                    ("trainwright_lease_losses_total", {"table": TABLE.name}),
                    ("trainwright_lease_takeovers_total", {"table": TABLE.name}),
                    ("trainwright_reconciles_total", {"table": TABLE.name, "outcome": "lost"}),
                )
            )

        await until(are_counted)


async def test_a_wake_during_the_work_is_not_lost(api: LiveApi) -> None:
    row_id = await make_row(api)
    rounds: list[int] = []
    done = asyncio.Event()

    async def work(guard: Guard) -> float | None:
        if guard.lease.row_id != row_id:
            return None
        rounds.append(1)
        if len(rounds) == 1:
            async with api.database.session() as session:
                await wake(session, Planning, row_id)
        else:
            done.set()
        return None

    engine = Engine(api.database, [Recorder(work)], lease_seconds=10, poll_seconds=30)
    engine.hint("planning", row_id)
    async with asyncio.timeout(60):
        await done.wait()
    await engine.close()


@pytest.mark.fault(1, 26)
async def test_the_poller_finds_what_no_hint_announced(api: LiveApi) -> None:
    row_id = await make_row(api)
    seen = asyncio.Event()

    async def work(guard: Guard) -> float | None:
        if guard.lease.row_id == row_id:
            seen.set()
        return None

    engine = Engine(api.database, [Recorder(work)], lease_seconds=10, poll_seconds=0.05)
    async with polling(engine), asyncio.timeout(60):
        await seen.wait()


@pytest.mark.fault(19)
async def test_a_failing_row_is_tried_again_later(api: LiveApi) -> None:
    row_id = await make_row(api)
    tries: list[float] = []
    done = asyncio.Event()

    async def work(guard: Guard) -> float | None:
        if guard.lease.row_id != row_id:
            return None
        tries.append(asyncio.get_running_loop().time())
        if len(tries) == 1:
            raise RuntimeError("first try fails")
        done.set()
        return None

    engine = Engine(api.database, [Recorder(work)], lease_seconds=10, poll_seconds=0.05)
    async with polling(engine), asyncio.timeout(60):
        await done.wait()
    assert tries[1] - tries[0] >= 0.9


@pytest.mark.fault(25, 28)
async def test_many_hints_at_once_run_a_row_one_at_a_time(api: LiveApi) -> None:
    row_id = await make_row(api)
    running = 0
    most = 0
    done = asyncio.Event()

    async def work(guard: Guard) -> float | None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.05)
        running -= 1
        done.set()
        return None

    engines = [
        Engine(api.database, [Recorder(work)], lease_seconds=10, poll_seconds=30) for _ in range(4)
    ]
    for engine in engines:
        for _ in range(25):
            engine.hint("planning", row_id)
    async with asyncio.timeout(60):
        await done.wait()
    for engine in engines:
        await engine.close()
    assert most == 1


async def test_a_look_at_the_database_is_a_sign_of_life(api: LiveApi) -> None:
    pulse = Pulse()

    async def leave_alone(guard: Guard) -> None:
        return None

    engine = Engine(
        api.database, [Recorder(leave_alone)], lease_seconds=10, poll_seconds=0.02, pulse=pulse
    )
    assert pulse.obstacle()

    async with polling(engine):
        async with asyncio.timeout(60):
            while pulse.obstacle():
                await asyncio.sleep(0.01)
