"""Whether this process can serve, and if not, why: each part is asked, and none for long."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import cache
from pathlib import Path

import anyio.to_thread
import asyncpg
import structlog
from alembic.script import ScriptDirectory
from sqlalchemy import text

from app.kernel.db import Database
from app.kernel.direct import Statement
from app.kernel.errors import Unavailable
from app.kernel.signals import Signals
from app.storage.errors import StorageError
from app.storage.objects import ObjectStore

OK = "ok"
_log = structlog.get_logger(__name__)
_MIGRATIONS = Path(__file__).resolve().parents[2] / "migrations"
_ANSWER_SECONDS = 3.0
_STORE_AGAIN_SECONDS = 5.0
_REVISION = Statement(text("SELECT version_num FROM alembic_version"))


class Readiness:
    """The parts that an API process needs.

    Args:
        database: without it nothing can be answered.
        objects: without it nothing can be taken.
        signals: of the broker; without it answers are late, and none is wrong.
    """

    def __init__(self, database: Database, objects: ObjectStore, signals: Signals) -> None:
        self._database = database
        self._objects = objects
        self._signals = signals
        self._needed = {
            "database": _Check(self._ask_database, again_after_seconds=0.0),
            "object_store": _Check(self._ask_store, again_after_seconds=_STORE_AGAIN_SECONDS),
        }

    async def look(self) -> tuple[bool, dict[str, str]]:
        """Whether this process can serve; and of each part either ``ok`` or what is wrong."""
        names = list(self._needed)
        found = await asyncio.gather(*(self._needed[name].result() for name in names))
        checks = dict(zip(names, found, strict=True))
        is_ready = all(words == OK for words in found)
        is_heard = self._signals.is_listening
        checks["broker"] = OK if is_heard else "The broker cannot be reached; polling goes on."
        return is_ready, checks

    async def close(self) -> None:
        """Stop asking."""
        for check in self._needed.values():
            await check.close()

    async def _ask_database(self) -> str:
        try:
            rows = await self._database.direct.rows(_REVISION)
        except Unavailable:
            return "The database cannot be reached."
        except asyncpg.UndefinedTableError:
            rows = []
        except asyncpg.PostgresError as error:
            return f"The database refuses: {error}."
        known, head = await anyio.to_thread.run_sync(_revisions)
        found = rows[0]["version_num"] if rows else "empty"
        if found == head or (rows and found not in known):
            # A later release has been here: what it changes, it changes so that this one goes on.
            return OK
        return f"The database's schema is {found}, and {head} is needed: run trainwright migrate."

    async def _ask_store(self) -> str:
        try:
            await anyio.to_thread.run_sync(self._objects.probe)
        except OSError as error:
            return f"The object store cannot be written to: {error.strerror}."
        except StorageError as error:
            # Whoever may ask this needs no token, and the bucket's words have its address in them.
            _log.warning("object_store_unavailable", error=error.message)
            return "The object store is out of reach; the log of the API says why."
        return OK


class _Check:
    """One question; however many ask at once, it is asked once."""

    def __init__(self, ask: Callable[[], Awaitable[str]], *, again_after_seconds: float) -> None:
        self._ask = ask
        self._again_after_seconds = again_after_seconds
        self._asking: asyncio.Task[None] | None = None
        self._answer = ""
        self._answered_at = float("-inf")

    async def result(self) -> str:
        """The answer, or that there was none in time."""
        if self._asking is None:
            if time.monotonic() - self._answered_at < self._again_after_seconds:
                return self._answer
            self._asking = asyncio.create_task(self._note())
        # Never broken off: a connection whose statement is broken off is lost to its pool.
        done, _ = await asyncio.wait({self._asking}, timeout=_ANSWER_SECONDS)
        return self._answer if done else f"No answer within {_ANSWER_SECONDS:.0f} seconds."

    async def close(self) -> None:
        if self._asking is not None:
            self._asking.cancel()
            with suppress(asyncio.CancelledError):
                await self._asking

    async def _note(self) -> None:
        try:
            self._answer = await self._ask()
            self._answered_at = time.monotonic()
        finally:
            self._asking = None


@cache
def _revisions() -> tuple[frozenset[str], str | None]:
    """All migrations that this release has, and the last of them."""
    scripts = ScriptDirectory(str(_MIGRATIONS))
    known = frozenset(script.revision for script in scripts.walk_revisions())
    return known, scripts.get_current_head()
