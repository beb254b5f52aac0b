"""Statements of the hot paths: through asyncpg, each a transaction of its own in one round trip.

SQLAlchemy's own work around a small statement is several times that of the statement. Here a
statement is compiled once, when its module is loaded, and the connection keeps it prepared.
"""

from collections.abc import Callable, Mapping
from typing import Any, cast

import asyncpg
import structlog
from sqlalchemy import Executable, Select, make_url
from sqlalchemy.dialects.postgresql.asyncpg import dialect as asyncpg_dialect
from sqlalchemy.sql.compiler import SQLCompiler

from app.kernel.config import Settings
from app.kernel.errors import Conflict, Unavailable, invalid_field

_CONNECT_SECONDS = 5.0
_IDLE_SECONDS = 300.0
_log = structlog.get_logger(__name__)
_AWAY = "The database cannot be reached now; try again shortly."
_ENTANGLED = "This and another request waited for each other; try again."
_DIALECT: Any = asyncpg_dialect()  # type: ignore[no-untyped-call]
_MOST_COMPILED = 500
_LIBPQ_ONLY = ("connect_timeout", "keepalives", "keepalives_idle", "tcp_user_timeout")
"""Options in a database's address that asyncpg would take for settings of the server."""


class Overtaken(Conflict):
    """Somebody wrote or removed the same thing at the same moment."""

    def __init__(self) -> None:
        super().__init__(
            "Something that this is about was changed at the same moment; look and repeat."
        )


class Statement:
    """A statement, compiled: its text, and the order of its parameters.

    Args:
        source: a statement of SQLAlchemy Core, or ``text`` with named parameters.
    """

    def __init__(self, source: Executable) -> None:
        compiled = source.compile(dialect=_DIALECT)  # type: ignore[attr-defined]
        self._is(compiled, compiled.params)

    @classmethod
    def of_shape(cls, source: Select[Any]) -> "Statement":
        """A statement that was put together for a request.

        Those of one shape are compiled once, by the key under which SQLAlchemy itself would
        remember them. They must not hold lists that become more parameters (``in_`` of values).
        """
        key = source._generate_cache_key()
        assert key is not None
        compiled = _compiled.get(key.key)
        if compiled is None:
            if len(_compiled) >= _MOST_COMPILED:
                _compiled.clear()
            made = _DIALECT.statement_compiler(_DIALECT, source, cache_key=key)
            compiled = _compiled[key.key] = cast("SQLCompiler", made)
        statement = cls.__new__(cls)
        values = compiled.construct_params(extracted_parameters=key.bindparams, _check=False)
        statement._is(compiled, values)
        return statement

    def _is(self, compiled: SQLCompiler, values: Mapping[str, Any]) -> None:
        self.sql = str(compiled)
        self._names: list[str] = list(compiled.positiontup or ())
        processors = cast("dict[str, Callable[[Any], Any]]", compiled._bind_processors)
        self._fixed = {
            name: processors[name](value) if name in processors else value
            for name, value in values.items()
        }

    def arguments(self, given: dict[str, Any]) -> list[Any]:
        """The values in the order in which the server expects them."""
        fixed = self._fixed
        return [given[name] if name in given else fixed[name] for name in self._names]


_compiled: dict[Any, SQLCompiler] = {}


class DirectPool:
    """Connections for such statements; none is opened before it is needed."""

    def __init__(self, settings: Settings) -> None:
        url = make_url(settings.database_url.get_secret_value())
        url = url.set(drivername="postgresql").difference_update_query(_LIBPQ_ONLY)
        self._dsn = url.render_as_string(hide_password=False)
        self._size = settings.database_pool_size
        self._pool: asyncpg.Pool | None = None

    async def rows(self, statement: Statement, **given: Any) -> list[asyncpg.Record]:
        """Execute a statement and return its rows; JSON in them is text.

        Raises:
            Invalid: a value is out of range, or no column can hold it.
            Overtaken: a constraint does not hold, which was seen to.
            Unavailable: the database cannot be reached, or ended the statement for another's sake.
        """
        arguments = statement.arguments(given)
        try:
            pool = await self._opened()
            async with pool.acquire(timeout=_CONNECT_SECONDS) as connection:
                try:
                    found: list[asyncpg.Record] = await connection.fetch(statement.sql, *arguments)
                except asyncpg.InternalClientError:
                    # The server went away in the middle of an answer: it is of no use any more.
                    connection.terminate()
                    raise
                return found
        except (asyncpg.DataError, asyncpg.ProgramLimitExceededError, ValueError) as error:
            _log.warning("value_not_storable", error=str(error))
            message = "A value in this request is out of range or cannot be stored."
            raise invalid_field("/", "value_not_storable", message) from error
        except asyncpg.IntegrityConstraintViolationError as error:
            _log.warning("write_overtaken", error=str(error))
            raise Overtaken from error
        except asyncpg.TransactionRollbackError as error:
            _log.warning("write_rolled_back", error=str(error))
            raise Unavailable(_ENTANGLED) from error
        except (
            OSError,  # TimeoutError too
            asyncpg.InterfaceError,
            asyncpg.InternalClientError,
            asyncpg.PostgresConnectionError,
            asyncpg.OperatorInterventionError,
            asyncpg.InsufficientResourcesError,
        ) as error:
            _log.warning("database_unavailable", error=str(error))
            raise Unavailable(_AWAY) from error

    async def select(self, statement: Select[Any]) -> list[asyncpg.Record]:
        """The same with a statement that was put together for this request."""
        return await self.rows(Statement.of_shape(statement))

    async def row(self, statement: Statement, **given: Any) -> asyncpg.Record | None:
        """The first row, if there is one; raises as `rows` does."""
        found = await self.rows(statement, **given)
        return found[0] if found else None

    def use(self) -> tuple[int, int, int]:
        """How many connections are in use, lie idle, and may be open."""
        if self._pool is None:
            return 0, 0, self._size
        idle: int = self._pool.get_idle_size()
        return self._pool.get_size() - idle, idle, self._size

    async def close(self) -> None:
        """Close all connections."""
        pool, self._pool = self._pool, None
        if pool is not None:
            await pool.close()

    async def _opened(self) -> asyncpg.Pool:
        if self._pool is None:
            # Of no connections at first, so nothing is waited for between here and the return.
            self._pool = asyncpg.create_pool(
                self._dsn,
                min_size=0,
                max_size=self._size,
                timeout=_CONNECT_SECONDS,
                max_inactive_connection_lifetime=_IDLE_SECONDS,
                reset=_keep,
                server_settings={"application_name": "trainwright-api"},
            )
            await self._pool
        return self._pool


async def _keep(connection: asyncpg.Connection) -> None:
    """Statements of this kind leave nothing behind that would have to be reset."""
