"""Rows on which turns never come back: the engine finds out which it is, and leaves it alone."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete, select, text, update

from app.kernel import leases
from app.kernel.wake import wake
from app.tables.planning import ALL, Planning
from tests.health.figures import read, value
from tests.kernel.test_engine import TABLE, Recorder, make_row, polling
from tests.live_api import LiveApi, live_api
from tests.waiting import until
from workers.engine import Engine
from workers.reconciler import WORKER_DIED, Guard

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api
        async with api.database.session() as session:
            await session.execute(delete(Planning).where(Planning.id != ALL))


class Rows:
    """A reconciler that notes whose turn it was, and what rows were to say."""

    table = TABLE

    def __init__(self) -> None:
        self.turns: list[str] = []
        self.said: list[tuple[str, str]] = []

    async def reconcile(self, guard: Guard) -> float | None:
        self.turns.append(guard.lease.row_id)
        return None

    async def say_failed(self, guard: Guard, error: str) -> None:
        self.said.append((guard.lease.row_id, error))


async def die_with(api: LiveApi, row_id: str, *, times: int) -> None:
    """Take a row so often as one who dies each time; the leases have run out at once."""
    for _ in range(times):
        async with api.database.session() as session:
            assert await leases.acquire(session, TABLE, row_id=row_id, seconds=-1, is_alone=True)


async def unfinished_turns(api: LiveApi, row_id: str) -> int:
    async with api.database.session() as session:
        statement = select(Planning.unfinished_turns).where(Planning.id == row_id)
        return (await session.execute(statement)).scalar_one()


async def aside_seconds(api: LiveApi, row_id: str) -> float:
    """For how long nobody is going to take the row."""
    left = text("extract(epoch FROM lease_expires_at - clock_timestamp())::float")
    async with api.database.session() as session:
        return float(await session.scalar(select(left).where(TABLE.c.id == row_id)) or 0.0)


async def let_time_pass(api: LiveApi, row_id: str) -> None:
    async with api.database.session() as session:
        over = update(TABLE).where(TABLE.c.id == row_id)
        await session.execute(over.values(lease_expires_at=text("clock_timestamp()")))


def engine_of(api: LiveApi, rows: Rows | Recorder) -> Engine:
    return Engine(api.database, [rows], lease_seconds=30, poll_seconds=0.02)


@pytest.mark.fault(10)
async def test_a_row_that_ended_its_workers_is_left_alone_whoever_wakes_it_and_others_go_on(
    api: LiveApi,
) -> None:
    killer, other = await make_row(api), await make_row(api)
    await die_with(api, killer, times=3)
    rows = Rows()

    async with polling(engine_of(api, rows)):

        async def is_said() -> bool:
            return bool(rows.said) and other in rows.turns

        await until(is_said)
        rows.turns.clear()
        async with api.database.session() as session:
            await wake(session, Planning, killer)
            await wake(session, Planning, other)

        async def have_gone_on() -> bool:
            return other in rows.turns

        await until(have_gone_on)
        assert (killer in rows.turns, rows.said) == (False, [(killer, WORKER_DIED)])
        assert 50 < await aside_seconds(api, killer) <= 60
        figure = value(await read(api), "trainwright_rows_set_aside", table=TABLE.name)
        assert figure == 1

        await let_time_pass(api, killer)

        async def was_looked_at() -> bool:
            return killer in rows.turns and await unfinished_turns(api, killer) == 0

        await until(was_looked_at)
    assert value(await read(api), "trainwright_rows_set_aside", table=TABLE.name) == 0


@pytest.mark.fault(10)
async def test_a_row_is_set_aside_for_longer_with_every_worker_that_it_ends(api: LiveApi) -> None:
    killer = await make_row(api)
    await die_with(api, killer, times=3)
    for most_seconds in (60, 120, 240):
        rows = Rows()
        async with polling(engine_of(api, rows)):

            async def is_said(rows: Rows = rows) -> bool:
                return bool(rows.said) and await aside_seconds(api, killer) > 0

            await until(is_said)
        assert most_seconds - 20 < await aside_seconds(api, killer) <= most_seconds
        await let_time_pass(api, killer)
        # The next turn: the row is given to somebody, who dies.
        await die_with(api, killer, times=1)


@pytest.mark.fault(10)
async def test_a_row_that_may_end_its_worker_shares_it_with_no_other_such_row(
    api: LiveApi,
) -> None:
    # More than are looked for at once, so that others could be hidden by them.
    suspects = [await make_row(api) for _ in range(25)]
    for row_id in suspects:
        await die_with(api, row_id, times=2)
    calm = await make_row(api)
    turns: list[str] = []
    at_once: list[int] = []
    going_on: set[str] = set()

    async def work(guard: Guard) -> float | None:
        row_id = guard.lease.row_id
        if row_id in suspects:
            going_on.add(row_id)
            at_once.append(len(going_on))
            async with asyncio.timeout(30):
                while calm not in turns:
                    await asyncio.sleep(0.01)
            going_on.discard(row_id)
        turns.append(row_id)
        return None

    async with polling(engine_of(api, Recorder(work))):

        async def all_had_their_turn() -> bool:
            return {*suspects, calm} <= set(turns)

        await until(all_had_their_turn)
    assert at_once == [1] * len(suspects)


@pytest.mark.fault(10)
async def test_a_turn_that_ends_after_its_row_was_set_aside_leaves_it_so(api: LiveApi) -> None:
    row_id = await make_row(api)
    begun, goes_on = asyncio.Event(), asyncio.Event()

    async def work(guard: Guard) -> float | None:
        if guard.lease.row_id == row_id:
            begun.set()
            await goes_on.wait()
        return None

    late, rows = engine_of(api, Recorder(work)), Rows()
    lost = value(await read(api), "trainwright_lease_losses_total", table=TABLE.name) or 0.0
    late.hint(TABLE.name, row_id)
    async with asyncio.timeout(30):
        await begun.wait()
    await let_time_pass(api, row_id)
    await die_with(api, row_id, times=3)
    async with polling(engine_of(api, rows)):

        async def is_set_aside() -> bool:
            return bool(rows.said) and await aside_seconds(api, row_id) > 0

        await until(is_set_aside)
        goes_on.set()

        async def is_told() -> bool:
            now = value(await read(api), "trainwright_lease_losses_total", table=TABLE.name)
            return now == lost + 1 and await unfinished_turns(api, row_id) == 3

        await until(is_told)
        assert await aside_seconds(api, row_id) > 30
        assert row_id not in rows.turns
    await late.close()


@pytest.mark.fault(10)
async def test_a_worker_that_is_told_to_stop_blames_no_row(api: LiveApi) -> None:
    row_id = await make_row(api)
    begun = asyncio.Event()

    async def work(guard: Guard) -> float | None:
        if guard.lease.row_id == row_id:
            begun.set()
            await asyncio.Event().wait()
        return None

    engine = engine_of(api, Recorder(work))
    engine.hint(TABLE.name, row_id)
    async with asyncio.timeout(30):
        await begun.wait()
    assert await unfinished_turns(api, row_id) == 1

    await engine.close()

    assert await unfinished_turns(api, row_id) == 0
