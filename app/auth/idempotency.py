"""``Idempotency-Key``: a repeated request gets the answer of the first one.

A route declares one of the dependencies below, and its router has the class `WriteRoute`, which
hands the answer over before the transaction ends. Answers of success are kept; what failed is done
anew. A key is kept for ``idempotency_keep_days``; each new one clears away a few that are older.

A key is taken by a row without an answer. Where the route works in the request's transaction, the
row and its answer are written in it, so the key holds exactly when the work does; of two requests
with one key at once the second waits for the first. Where it works in transactions of its own, the
row is there meanwhile, and a second request is refused with 409.
"""

import hashlib
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from typing import Annotated

from fastapi import Depends, Header, Request
from fastapi.responses import Response
from sqlalchemy import CTE, ColumnElement, delete, func, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.config import Settings
from app.kernel.db import Database, DatabaseDep, SessionDep
from app.kernel.errors import Conflict, Invalid
from app.kernel.keyring import Keyring, KeyUnknown, Sealed
from app.kernel.validate_only import ValidateOnlyDep
from app.tables.idempotency_key import IdempotencyKey

_CLEARED_AT_ONCE = 10
_ABANDONED = timedelta(minutes=15)
"""A request that is under way longer than this ended with its process."""
_SCOPE = "idempotency"
KeyHeader = Annotated[
    str, Header(max_length=255, description="A repeated request gets the first one's answer")
]


class KeyReused(Invalid):
    """The key was used for another request."""

    code = "idempotency_key_reused"


class KeyBusy(Conflict):
    """The first request with this key is still under way."""

    code = "idempotency_key_busy"


class AnswerUnreadable(Conflict):
    """The first answer was encrypted with a key that this installation no longer has."""

    code = "idempotency_answer_unreadable"


class Replayed(Exception):
    """The request has been answered before."""

    def __init__(self, response: Response) -> None:
        super().__init__()
        self.response = response


class _Repeat:
    """The key of one request."""

    def __init__(self, request: Request, key: str, digest: str, *, is_secret: bool) -> None:
        state = request.app.state
        settings: Settings = state.settings
        self._keyring: Keyring = state.keyring
        self._principal_id: str = request.scope["principal"].id
        self._key = key
        self._digest = digest
        self._is_secret = is_secret
        self._taken_at: datetime | None = None
        self._keep = timedelta(days=settings.idempotency_keep_days)

    async def look(self, session: AsyncSession) -> None:
        """Take the key, or see what it has been used for.

        Whoever asks for a key that another transaction has just taken waits for its end.

        Raises:
            Replayed: for the same request; the exception has its answer.
            KeyReused: for another request.
            KeyBusy: for a request that is not done.
            AnswerUnreadable: its answer cannot be decrypted any more.
        """
        if await self._take(session):
            return
        row = await self._used(session)
        if row is None or row.status is None:
            await self._drop_abandoned(session)
            if await self._take(session):
                return
            row = await self._used(session)
        if row is not None and row.request_sha256 != self._digest:
            raise KeyReused("This Idempotency-Key was used for another request; take a new one.")
        if row is None or row.status is None:
            raise KeyBusy("The first request with this Idempotency-Key is not done; ask again.")
        headers = {**row.headers, "Idempotency-Replayed": "true"}
        raise Replayed(Response(self._opened(row), status_code=row.status, headers=headers))

    async def write(self, session: AsyncSession, response: Response) -> None:
        """Keep an answer under the key, which was taken for it."""
        body, key_id = bytes(response.body), ""
        if self._is_secret:
            sealed = self._keyring.seal(body, purpose=self._purpose())
            key_id, body = sealed.key_id, sealed.data
        headers = {
            name: value for name, value in response.headers.items() if name != "content-length"
        }
        statement = (
            update(IdempotencyKey)
            .where(*self._taken_by_this())
            .values(status=response.status_code, headers=headers, body=body, key_id=key_id)
            .add_cte(self._old())
            .execution_options(synchronize_session=False)
        )
        await session.execute(statement)

    async def forget(self, session: AsyncSession) -> None:
        """Give the key back: its request came to nothing."""
        await session.execute(
            delete(IdempotencyKey)
            .where(*self._taken_by_this())
            .execution_options(synchronize_session=False)
        )

    async def _take(self, session: AsyncSession) -> bool:
        """Take the key if nobody has it; says whether it was taken."""
        statement = (
            insert(IdempotencyKey)
            .values(principal_id=self._principal_id, key=self._key, request_sha256=self._digest)
            .on_conflict_do_nothing()
            .returning(IdempotencyKey.created_at)
        )
        self._taken_at = (await session.execute(statement)).scalar_one_or_none()
        return self._taken_at is not None

    async def _used(self, session: AsyncSession) -> IdempotencyKey | None:
        statement = select(IdempotencyKey).where(*self._mine())
        statement = statement.execution_options(populate_existing=True)
        return (await session.execute(statement)).scalar_one_or_none()

    def _taken_by_this(self) -> tuple[ColumnElement[bool], ...]:
        """A row without an answer; after long enough it may be another request's by now."""
        is_this = IdempotencyKey.created_at == self._taken_at
        return (*self._mine(), IdempotencyKey.status.is_(None), is_this)

    def _mine(self) -> tuple[ColumnElement[bool], ColumnElement[bool]]:
        return (
            IdempotencyKey.principal_id == self._principal_id,
            IdempotencyKey.key == self._key,
        )

    def _opened(self, row: IdempotencyKey) -> bytes:
        if not row.key_id:
            return row.body
        try:
            return self._keyring.open(Sealed(row.key_id, row.body), purpose=self._purpose())
        except KeyUnknown as error:
            raise AnswerUnreadable(
                "This was done, and its answer was encrypted with a key that is gone."
            ) from error

    def _purpose(self) -> str:
        return f"idempotency {self._principal_id}/{self._key}"

    async def _drop_abandoned(self, session: AsyncSession) -> None:
        is_old = IdempotencyKey.created_at < func.clock_timestamp() - _ABANDONED
        await session.execute(
            delete(IdempotencyKey)
            .where(*self._mine(), IdempotencyKey.status.is_(None), is_old)
            .execution_options(synchronize_session=False)
        )

    def _old(self) -> CTE:
        # More than one for each that is added, so the table stays bounded without a task of its
        # own; rows that another request is clearing away are skipped, so nobody waits.
        columns = (IdempotencyKey.principal_id, IdempotencyKey.key)
        old = (
            select(*columns)
            .where(IdempotencyKey.created_at < func.clock_timestamp() - self._keep)
            .order_by(IdempotencyKey.created_at)
            .limit(_CLEARED_AT_ONCE)
            .with_for_update(skip_locked=True)
        )
        return delete(IdempotencyKey).where(tuple_(*columns).in_(old)).cte("cleared")


class _Open:
    """A key whose answer is still to come, and the transaction it goes into; None: its own."""

    def __init__(self, repeat: _Repeat, session: AsyncSession | None) -> None:
        self.repeat = repeat
        self.session = session
        self.is_kept = False


async def keep_answer(request: Request, response: Response) -> None:
    """Keep the answer of a request that has a key."""
    found: _Open | None = request.scope.get(_SCOPE)
    if found is None:
        return
    if found.session is not None:
        await found.repeat.write(found.session, response)
    else:
        database: Database = request.app.state.database
        async with database.session() as session:
            await found.repeat.write(session, response)
    found.is_kept = True


async def _repeat(request: Request, key: str, *, is_secret: bool = False) -> _Repeat:
    address = f"{request.method} {request.url.path}?{request.url.query}\n"
    digest = hashlib.sha256(address.encode())
    digest.update(await request.body())
    return _Repeat(request, key, digest.hexdigest(), is_secret=is_secret)


async def _repeatable(
    request: Request,
    session: SessionDep,
    validate_only: ValidateOnlyDep,
    idempotency_key: KeyHeader = "",
) -> None:
    if idempotency_key and not validate_only:
        repeat = await _repeat(request, idempotency_key)
        await repeat.look(session)
        request.scope[_SCOPE] = _Open(repeat, session)


async def _repeatable_secret(
    request: Request, session: SessionDep, idempotency_key: KeyHeader = ""
) -> None:
    if idempotency_key:
        repeat = await _repeat(request, idempotency_key, is_secret=True)
        await repeat.look(session)
        request.scope[_SCOPE] = _Open(repeat, session)


async def _repeatable_detached(
    request: Request, database: DatabaseDep, idempotency_key: KeyHeader = ""
) -> AsyncIterator[None]:
    if not idempotency_key:
        yield
        return
    repeat = await _repeat(request, idempotency_key)
    async with database.session() as session:
        await repeat.look(session)
    found = request.scope[_SCOPE] = _Open(repeat, None)
    try:
        yield
    finally:
        if not found.is_kept:
            async with database.session() as session:
                await repeat.forget(session)


REPEATABLE = Depends(_repeatable, scope="function")
"""Takes ``Idempotency-Key`` and ``validate_only``; for routes of the request's transaction."""
REPEATABLE_SECRET = Depends(_repeatable_secret, scope="function")
"""Takes ``Idempotency-Key``; the answer has a secret in it and is kept encrypted."""
REPEATABLE_DETACHED = Depends(_repeatable_detached, scope="function")
"""Takes ``Idempotency-Key``; for routes that work in transactions of their own."""
