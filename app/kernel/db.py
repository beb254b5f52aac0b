"""Database sessions: one request or one phase of work is one transaction."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, NamedTuple

from fastapi import Depends, Request
from pydantic_core import from_json
from sqlalchemy.engine import URL, make_url
from sqlalchemy.ext.asyncio import (
    AsyncSession,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.pool import QueuePool

from app.kernel.config import Settings
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.direct import DirectPool
from app.kernel.hints import Hint, HintSender, collected_hints, discard_hints, say_now


class PoolUse(NamedTuple):
    """How many connections of a pool are in use, lie idle, and may be open."""

    pool: str
    in_use: int
    idle: int
    limit: int


class Database:
    """The engine of this process and its transactions."""

    def __init__(
        self, settings: Settings, hints: HintSender, *, idle_seconds: float | None = None
    ) -> None:
        """Make the engine; it connects when it is needed.

        Args:
            settings: where the database is, and how many connections there may be.
            hints: takes what is to be said after a commit.
            idle_seconds: a transaction that asks nothing for so long is ended by the server, and
                its locks with it; None: none is.
        """
        url = make_url(settings.database_url.get_secret_value())
        if idle_seconds is not None:
            url = _with_idle_option(url, idle_seconds)
        self.engine = create_async_engine(
            url,
            pool_size=settings.database_pool_size,
            max_overflow=settings.database_pool_size,
            pool_timeout=10,
            pool_pre_ping=False,
            # Errors are logged, and values of statements may be what nobody else may read.
            hide_parameters=True,
            json_deserializer=from_json,
            connect_args={"connect_timeout": 5},
        )
        self._limit = 2 * settings.database_pool_size
        self.direct = DirectPool(settings)
        self._sessions = async_sessionmaker(self.engine, expire_on_commit=False)
        self._hints = hints

    @asynccontextmanager
    async def session(self) -> AsyncIterator[AsyncSession]:
        """One transaction: committed at the end, rolled back on an exception.

        Hints collected on the way leave only after the commit (and never after a rollback).
        """
        async with self._sessions() as session:
            try:
                yield session
                await session.commit()
            except BaseException:
                discard_hints(session)
                raise
            say_now(session)
            hints = collected_hints(session)
        reached(CrashPoint.COMMITTED)
        self._hints.send(hints)

    def send(self, hint: Hint) -> None:
        """Send a hint about what was written without a session, once it is safe."""
        self._hints.send([hint])

    def pool_use(self) -> list[PoolUse]:
        """What this process's pools of connections hold."""
        pool = self.engine.pool
        assert isinstance(pool, QueuePool)
        of_sessions = PoolUse("sessions", pool.checkedout(), pool.checkedin(), self._limit)
        in_use, idle, limit = self.direct.use()
        return [of_sessions, PoolUse("direct", in_use, idle, limit)]

    async def close(self) -> None:
        """Close all connections."""
        await self.direct.close()
        await self.engine.dispose()


def _with_idle_option(url: URL, seconds: float) -> URL:
    given = url.query.get("options", "")
    others = given if isinstance(given, str) else " ".join(given)
    own = f"-c idle_in_transaction_session_timeout={round(seconds * 1000)}"
    return url.update_query_dict({"options": f"{others} {own}".strip()})


async def get_database(request: Request) -> Database:
    """The database of the application that serves this request."""
    database: Database = request.app.state.database
    return database


DatabaseDep = Annotated[Database, Depends(get_database)]


async def _request_session(request: Request, database: DatabaseDep) -> AsyncIterator[AsyncSession]:
    async with database.session() as session:
        yield session
        # Who stands in front of the routes may have something to write with what they wrote.
        if "before_commit" in request.scope:
            request.scope["before_commit"](session)
        if "validate_only" in request.scope:
            discard_hints(session)
            await session.rollback()
        reached(CrashPoint.REQUEST_UNCOMMITTED)


# scope="function": the commit happens before the answer leaves, so an answer is never a lie.
SessionDep = Annotated[AsyncSession, Depends(_request_session, scope="function")]
