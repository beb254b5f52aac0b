"""A database for one test alone, where what other tests left would be in its way."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

TEMPLATE = "migrated"


async def keep_template(postgres_url: str) -> None:
    """Keep a copy of a migrated database, to which nobody is connected, for copies of it."""
    database = make_url(postgres_url).database
    await _execute(postgres_url, f'CREATE DATABASE "{TEMPLATE}" TEMPLATE "{database}"')


@asynccontextmanager
async def own_database(postgres_url: str) -> AsyncIterator[str]:
    """Make an empty database of the present version beside this one; its address."""
    name = f"own_{uuid.uuid4().hex}"
    await _execute(postgres_url, f'CREATE DATABASE "{name}" TEMPLATE "{TEMPLATE}"')
    try:
        yield make_url(postgres_url).set(database=name).render_as_string(hide_password=False)
    finally:
        await _execute(postgres_url, f'DROP DATABASE "{name}" WITH (FORCE)')


async def _execute(postgres_url: str, statement: str) -> None:
    # No database is made or dropped in a transaction, nor from a connection to itself.
    engine = create_async_engine(
        make_url(postgres_url).set(database="postgres"), isolation_level="AUTOCOMMIT"
    )
    try:
        async with engine.connect() as connection:
            await connection.execute(text(statement))
    finally:
        await engine.dispose()
