"""Many rows at once, copied from one: what an API has to search through."""

import asyncio
from collections.abc import Mapping

import asyncpg


def copy_rows(
    dsn: str, table: str, *, where: str, changed: Mapping[str, str], first: int, count: int
) -> None:
    """Copy the one row of `table` that `where` finds, `count` times.

    Args:
        dsn: of the database.
        table: its name.
        where: condition in SQL.
        changed: for columns of the copies, an expression in SQL over the number ``n``; every
            other column is as in the row that is copied.
        first: number of the first copy.
        count: of copies.
    """

    async def copy() -> None:
        connection = await asyncpg.connect(dsn)
        try:
            names = await connection.fetch(
                "SELECT column_name FROM information_schema.columns WHERE table_name = $1"
                " AND table_schema = 'public' AND is_identity = 'NO' ORDER BY ordinal_position",
                table,
            )
            columns = [row["column_name"] for row in names]
            values = [changed.get(column, f't."{column}"') for column in columns]
            listed = ", ".join(f'"{column}"' for column in columns)
            await connection.execute(
                f"INSERT INTO {table} ({listed}) SELECT {', '.join(values)}"  # noqa: S608
                f" FROM {table} t, generate_series({first}, {first + count - 1}) n WHERE {where}",
                timeout=600,
            )
            await connection.execute(f"ANALYZE {table}", timeout=600)
        finally:
            await connection.close()

    asyncio.run(copy())
