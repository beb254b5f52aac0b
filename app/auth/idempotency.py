"""``Idempotency-Key``: a repeated request gets the answer of the first one.

The answer is stored in the transaction that did the work, so the key holds exactly when the
work does. Two requests with one key at once: the second waits for the first and replays it.
A key is kept for ``idempotency_keep_days``; each new one clears away a few that are older.
"""

import hashlib
from datetime import timedelta
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy import delete, func, select, text, tuple_

from app.kernel.config import SettingsDep
from app.kernel.db import SessionDep
from app.kernel.errors import Invalid
from app.kernel.json import NewlineJSONResponse
from app.tables.idempotency_key import IdempotencyKey

_CLEARED_AT_ONCE = 10


class KeyReused(Invalid):
    """The key was used for another request."""

    code = "idempotency_key_reused"


class Idempotency:
    """The key of this request, if it has one."""

    def __init__(
        self,
        session: SessionDep,
        *,
        principal_id: str,
        key: str,
        digest: str,
        keep_days: float,
    ) -> None:
        self._session = session
        self._principal_id = principal_id
        self._key = key
        self._digest = digest
        self._keep = timedelta(days=keep_days)

    async def replay(self) -> Response | None:
        """The stored answer of an earlier request with this key.

        Raises:
            KeyReused: the earlier request was another one.
        """
        if not self._key:
            return None
        # Held until the transaction ends: a second request with this key waits here.
        await self._session.execute(
            text("SELECT pg_advisory_xact_lock(hashtextextended(:key, 7))"),
            {"key": f"{self._principal_id}/{self._key}"},
        )
        row = await self._session.get(IdempotencyKey, (self._principal_id, self._key))
        if row is None:
            return None
        if row.request_sha256 != self._digest:
            raise KeyReused("This Idempotency-Key was used for another request; take a new one.")
        headers = {"Idempotency-Replayed": "true"}
        if row.location:
            headers["Location"] = row.location
        return NewlineJSONResponse(row.body, status_code=row.status, headers=headers)

    async def store(self, body: BaseModel, *, status: int, location: str = "") -> None:
        """Keep the answer for later requests with this key."""
        if not self._key:
            return
        stored: dict[str, Any] = body.model_dump(mode="json")
        self._session.add(
            IdempotencyKey(
                principal_id=self._principal_id,
                key=self._key,
                request_sha256=self._digest,
                status=status,
                body=stored,
                location=location,
            )
        )
        await self._clear_old()

    async def _clear_old(self) -> None:
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
        await self._session.execute(delete(IdempotencyKey).where(tuple_(*columns).in_(old)))


async def _idempotency(
    request: Request,
    session: SessionDep,
    settings: SettingsDep,
    idempotency_key: Annotated[
        str, Header(max_length=255, description="A repeated request gets the first one's answer")
    ] = "",
) -> Idempotency:
    digest = hashlib.sha256(request.method.encode() + b" " + request.url.path.encode() + b"\n")
    digest.update(await request.body())
    return Idempotency(
        session,
        principal_id=request.scope["principal"].id,
        key=idempotency_key,
        digest=digest.hexdigest(),
        keep_days=settings.idempotency_keep_days,
    )


IdempotencyDep = Annotated[Idempotency, Depends(_idempotency, scope="function")]
