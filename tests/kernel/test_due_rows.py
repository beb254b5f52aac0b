"""What a look for due rows costs when many are overdue."""

import re
from typing import cast

import pytest
from sqlalchemy import Table, text
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import create_async_engine

from app.kernel import leases
from app.tables.image import Image
from tests.databases import own_database

pytestmark = pytest.mark.anyio


async def test_a_look_reads_no_more_rows_however_many_are_overdue(postgres_url: str) -> None:
    table = cast("Table", Image.__table__)
    statement = leases.due_statement([table], limit=20)
    words = statement.compile(
        dialect=postgresql.dialect(),  # type: ignore[no-untyped-call]
        compile_kwargs={"literal_binds": True},
    )
    overdue = text(
        "INSERT INTO images (id, spec, next_check_at)"
        " SELECT 'i' || n, '{}', now() - make_interval(secs => n) FROM generate_series(1, 5000) n"
    )
    async with own_database(postgres_url) as url:
        engine = create_async_engine(url)
        async with engine.begin() as connection:
            await connection.execute(overdue)
        async with engine.begin() as connection:
            await connection.execute(text("ANALYZE images"))
            plan = "\n".join(await connection.scalars(text(f"EXPLAIN ANALYZE {words}")))
            ill = table.update().where(table.c.id == "i4500").values(unfinished_turns=2)
            await connection.execute(ill)
            found = (await connection.execute(statement)).all()
        await engine.dispose()

    read_rows = re.findall(r"actual .*rows=(\d+)|Removed by Filter: (\d+)", plan)
    assert max(int(count or removed) for count, removed in read_rows) <= 1000, plan
    assert [row.id for row in found if row.is_suspect] == ["i4500"]
    assert len(found) == 21
