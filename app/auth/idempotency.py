"""``Idempotency-Key``: a repeated request gets the answer of the first one.

The answer is stored in the transaction that did the work, so the key holds exactly when the
work does. Two requests with one key at once: the second waits for the first and replays it.
"""

import hashlib
from typing import Annotated, Any

from fastapi import Depends, Header, Request
from fastapi.responses import Response
from pydantic import BaseModel
from sqlalchemy import text

from app.kernel.db import SessionDep
from app.kernel.errors import Invalid
from app.kernel.json import NewlineJSONResponse
from app.tables.idempotency_key import IdempotencyKey


class KeyReused(Invalid):
    """The key was used for another request."""

    code = "idempotency_key_reused"


class Idempotency:
    """The key of this request, if it has one."""

    def __init__(self, session: SessionDep, *, principal_id: str, key: str, digest: str) -> None:
        self._session = session
        self._principal_id = principal_id
        self._key = key
        self._digest = digest

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

    def store(self, body: BaseModel, *, status: int, location: str = "") -> None:
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


async def _idempotency(
    request: Request,
    session: SessionDep,
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
    )


IdempotencyDep = Annotated[Idempotency, Depends(_idempotency, scope="function")]
