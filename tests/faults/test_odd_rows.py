"""Rows whose contents nobody expects: they say so, and keep nothing else from going on."""

from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import select, text

from app.tables.run import Run
from tests.health.figures import read, value
from tests.planning.test_explaining import cluster_of
from tests.runs.test_faults import World, codes, fake_world, started
from tests.waiting import until

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(120, func_only=True)]


@pytest.fixture
async def world(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[World]:
    async with fake_world(tmp_path, postgres_url, broker_url, gpus=1) as world:
        yield world


async def damage(world: World, statement: str, **values: str) -> None:
    """Change a row by hand, as nothing of the product does."""
    url = world.api.settings.database_url.get_secret_value().replace("+psycopg", "")
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        done = await connection.execute(statement.encode(), values)
        assert done.rowcount == 1, statement


async def has_node(world: World, cluster: str) -> bool:
    found = (await world.api.client.get(f"clusters/{cluster}/nodes")).json()["items"]
    return len(found) == 1


async def counted(world: World, table: str) -> float:
    """How often rows of a table were left out."""
    return value(await read(world.api), "trainwright_odd_rows_total", table=table) or 0.0


async def failed_looks(world: World, table: str) -> float:
    """How many looks at rows of a table ended with an error."""
    found = value(
        await read(world.api), "trainwright_reconciles_total", table=table, outcome="failed"
    )
    return found or 0.0


_IN_REQUEST = (
    "UPDATE runs SET request = request || jsonb_build_object(%(name)s::text, %(value)s::jsonb)"
    " WHERE id = %(id)s"
)
_PROPERTIES = "UPDATE runs SET properties = %(value)s::jsonb WHERE id = %(id)s"


@pytest.mark.parametrize(
    ("statement", "name", "damaged", "mended", "said"),
    [
        (_IN_REQUEST, "max_run_duration_seconds", '"soon"', "60", ("failing", "ValueError")),
        (_IN_REQUEST, "max_cost", "{}", "null", ("failing", "ValueError")),
        (_IN_REQUEST, "max_cost", '"NaN"', "5", ("failing", "ValueError")),
        (_PROPERTIES, "", "[]", "{}", ("not_written", "AttributeError")),
    ],
    ids=["a limit that is no number", "a cost that is none", "a cost like no other", "properties"],
)
@pytest.mark.fault(10)
async def test_a_waiting_run_that_cannot_be_planned_says_so_and_keeps_nobody_waiting(
    world: World, statement: str, name: str, damaged: str, mended: str, said: tuple[str, str]
) -> None:
    cluster = await cluster_of(world, max_nodes=3, is_enabled=False)
    odd, right = [await world.submit(cluster_name=cluster) for _ in range(2)]
    for run_id in (odd, right):
        await world.until(run_id, lambda run: codes(run) == ["cluster_disabled"])
    await damage(world, statement, id=odd, name=name, value=damaged)
    before = await counted(world, "runs")

    await world.api.client.patch(f"clusters/{cluster}", json={"is_enabled": True})

    await started(world, right)
    run = await world.until(odd, lambda run: codes(run) == [said[0]])
    assert run["blockers"][0]["detail"] == said[1]
    assert await counted(world, "runs") > before
    await damage(world, statement, id=odd, name=name, value=mended)
    await world.api.client.patch(f"clusters/{cluster}", json={"max_nodes": 4})
    await started(world, odd)


@pytest.mark.fault(10)
@pytest.mark.parametrize("said", ["null", '{"a": 1}', '[{"code": "quota"}]', '"full"'])
async def test_what_a_run_says_odd_of_its_waiting_is_said_anew(world: World, said: str) -> None:
    name = await cluster_of(world, max_nodes=1, is_enabled=False)
    odd = await world.submit(cluster_name=name)
    await world.until(odd, lambda run: codes(run) == ["cluster_disabled"])
    statement = "UPDATE runs SET blockers = %(value)s::jsonb WHERE id = %(id)s"
    await damage(world, statement, id=odd, value=said)
    assert [run["id"] for run in (await world.api.client.get("runs")).json()["items"]] == [odd]

    right = await world.submit(cluster_name=name)

    await world.until(right, lambda run: codes(run) == ["cluster_disabled"])
    await world.until(odd, lambda run: codes(run) == ["cluster_disabled"])
    await world.api.client.patch(f"clusters/{name}", json={"is_enabled": True})
    await started(world, odd)


@pytest.mark.fault(10)
async def test_a_running_run_and_an_idle_node_that_are_odd_keep_nobody_waiting(
    world: World,
) -> None:
    name = await cluster_of(world, vm_size="STANDARD_NC6", min_nodes=1, max_nodes=1)
    odd = await world.submit(cluster_name=await cluster_of(world, max_nodes=1), max_cost=50)
    await started(world, odd)
    await damage(world, _IN_REQUEST, id=odd, name="max_cost", value='"a lot"')
    before = await counted(world, "cluster_nodes")
    statement = (
        "UPDATE cluster_nodes SET gpu_ids = '[7]'"
        " WHERE cluster_id = (SELECT id FROM clusters WHERE name = %(name)s)"
    )
    await until(partial(has_node, world, name))
    await damage(world, statement, name=name)

    right = await world.submit(cluster_name=name)

    await started(world, right)
    assert await counted(world, "cluster_nodes") > before
    assert (await world.run(odd))["status"] == "Running"


@pytest.mark.fault(10)
async def test_a_run_that_cannot_be_looked_at_says_so_and_is_looked_at_ever_more_seldom(
    world: World,
) -> None:
    odd = await world.submit()
    await started(world, odd)
    in_list = "UPDATE runs SET request = jsonb_build_array(request) WHERE id = %(id)s"
    await damage(world, in_list, id=odd)

    run = await world.until(odd, lambda run: codes(run) == ["failing"])

    assert run["blockers"][0]["detail"] == "AttributeError"
    assert await failed_looks(world, "runs") >= 2
    await started(world, await world.submit())
    later = "next_check_at > clock_timestamp() + interval '3 seconds'"

    async def is_put_off() -> bool:
        async with world.api.database.session() as session:
            return bool(await session.scalar(select(text(later)).where(Run.id == odd)))

    await until(is_put_off)
    await damage(world, "UPDATE runs SET request = request -> 0 WHERE id = %(id)s", id=odd)
    await world.until(odd, lambda run: codes(run) == [])
    events = (await world.api.client.get(f"runs/{odd}/events")).json()["items"]
    assert [event["type"] for event in events].count("blocked") >= 1
