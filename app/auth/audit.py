"""Writing the audit log.

What a request changes is recorded in the transaction that changes it, where the request has one;
else before its answer goes out. What is denied is recorded before the answer goes out, at most so
much of it a second: refusals cost nothing to provoke.
"""

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, cast

import structlog
from pydantic_core import to_json
from sqlalchemy import CursorResult, delete, select, text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.auth.principal import Principal
from app.kernel.clock import database_now
from app.kernel.db import Database
from app.kernel.direct import Statement
from app.kernel.errors import DomainError
from app.kernel.ids import new_id
from app.tables.audit import AuditEvent

_DENIED_A_SECOND = 50
_LONGEST_VALUE = 300
_PURGED_AT_ONCE = 5000
_CREDENTIALS = frozenset({"token"})
_log = structlog.get_logger(__name__)
_COLUMNS = {
    "id": "text",
    "operation": "text",
    "permission": "text",
    "target": "jsonb",
    "outcome": "text",
    "status": "bigint",
    "address": "text",
    "request_id": "text",
    "actor_kind": "text",
    "actor_id": "text",
    "actor_name": "text",
    "token_id": "text",
    "workspace_id": "text",
}


def event_insert(source: str) -> str:
    """The part of a statement that records an event, given as ``:audit``, for each row of `source`.

    Args:
        source: name of what the statement has written, or of one row.
    """
    columns = ", ".join(_COLUMNS)
    values = ", ".join(f"coalesce(event.{name}, '')" if name in _MAY_LACK else f"event.{name}"
                       for name in _COLUMNS)  # fmt: skip
    types = ", ".join(f"{name} {kind}" for name, kind in _COLUMNS.items())
    return (
        f"INSERT INTO audit_events ({columns}) SELECT {values} FROM {source} "  # noqa: S608
        f"CROSS JOIN jsonb_to_record(CAST(:audit AS jsonb)) AS event({types})"
    )


_MAY_LACK = frozenset({"actor_id", "actor_name", "token_id"})
_INSERT = Statement(text(event_insert("(SELECT 1) AS one")))


@dataclass
class Note:
    """What is known of a request while it goes on.

    Attributes:
        operation: the route's name.
        permission: that it needs.
        target: the parameters in the address.
        changes: whether to record that it was done.
        denied: whether the caller was told that something is not there that they may not see.
        is_recorded: whether the transaction of the request has it.
    """

    operation: str = ""
    permission: str = ""
    target: Mapping[str, Any] = field(default_factory=dict)
    changes: bool = False
    denied: bool = False
    is_recorded: bool = False


class Audit:
    """Records what requests change, and which are denied."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self._second = 0
        self._denied = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        note = scope["audit"] = Note()

        def record_in(session: AsyncSession) -> None:
            if note.changes:
                session.add(AuditEvent(**_values(scope, note, outcome="done", status=200)))
                note.is_recorded = True

        scope["before_commit"] = record_in

        async def send_recorded(message: Message) -> None:
            if message["type"] == "http.response.start":
                await self._record(scope, note, message["status"])
            await send(message)

        await self._app(scope, receive, send_recorded)

    async def _record(self, scope: Scope, note: Note, status: int) -> None:
        outcome = "done"
        if status in (401, 403) or note.denied:
            outcome = "denied"
            if self._is_flooded():
                return
        elif status >= 400 or not note.changes or note.is_recorded:
            return
        database: Database = scope["app"].state.database
        values = _values(scope, note, outcome=outcome, status=status)
        try:
            await database.direct.rows(_INSERT, audit=to_json(values).decode())
        except DomainError as error:
            # What is done is done, and a refusal stays one: the log of the process has it.
            _log.error("audit_not_written", operation=note.operation, error=str(error))

    def _is_flooded(self) -> bool:
        second = int(time.monotonic())
        if second != self._second:
            left_out = self._denied - _DENIED_A_SECOND
            if left_out > 0:
                _log.warning("audit_denials_left_out", count=left_out)
            self._second, self._denied = second, 0
        self._denied += 1
        return self._denied > _DENIED_A_SECOND


def event_of(scope: Scope) -> str:
    """The event of a request that changes something, for `event_insert`; as JSON.

    Whoever has written it says so with `note_recorded`.
    """
    values = _values(scope, scope["audit"], outcome="done", status=200)
    return to_json(values).decode()


def note_recorded(scope: Scope) -> None:
    """Note that the event of a request is written."""
    note: Note = scope["audit"]
    note.is_recorded = True


async def purge(
    sessions: Callable[[], AbstractAsyncContextManager[AsyncSession]], *, older_than_days: int
) -> int:
    """Delete old events, which nothing else can do; how many there were.

    The database's guard is lifted within a transaction, and for it alone. Whoever records something
    waits for that: so the events go some thousands at a time, each time with an event that says so.

    Args:
        sessions: makes transactions.
        older_than_days: how old those are that go.
    """
    async with sessions() as session:
        until = await database_now(session) - timedelta(days=older_than_days)
    total, is_over = 0, False
    while not is_over:
        async with sessions() as session:
            count = await _purge_some(session, until, older_than_days)
        total += count
        is_over = count < _PURGED_AT_ONCE
    return total


async def _purge_some(session: AsyncSession, until: datetime, older_than_days: int) -> int:
    found = (
        select(AuditEvent.id)
        .where(AuditEvent.at < until)
        .order_by(AuditEvent.at)
        .limit(_PURGED_AT_ONCE)
    )
    # Before anybody has to wait.
    old = (await session.scalars(found)).all()
    await session.execute(text("ALTER TABLE audit_events DISABLE TRIGGER append_only"))
    gone = await session.execute(delete(AuditEvent).where(AuditEvent.id.in_(old)))
    count = cast("CursorResult[Any]", gone).rowcount
    await session.execute(text("ALTER TABLE audit_events ENABLE TRIGGER append_only"))
    target = {"older_than_days": str(older_than_days), "events": str(count)}
    record_operator(session, "audit purge", target)
    return count


def record_operator(
    session: AsyncSession, operation: str, target: Mapping[str, Any] | None = None
) -> None:
    """Record what somebody did with the command line on the server itself."""
    session.add(
        AuditEvent(
            id=new_id("aud"),
            actor_kind="operator",
            actor_name="operator",
            operation=operation,
            target=dict(target or {}),
            outcome="done",
            status=0,
        )
    )


def _values(scope: Scope, note: Note, *, outcome: str, status: int) -> dict[str, Any]:
    principal: Principal | None = scope.get("principal")
    client = scope.get("client")
    values = {
        "id": new_id("aud"),
        "operation": note.operation or f"{scope['method']} {_kept(_shown_path(scope))}",
        "permission": note.permission,
        "target": {
            name: _kept(str(value))
            for name, value in note.target.items()
            if name not in _CREDENTIALS
        },
        "outcome": outcome,
        "status": status,
        "address": client[0] if client else "",
        "request_id": scope.get("state", {}).get("request_id", ""),
        "actor_kind": "",
    }
    if principal is not None:
        entered = principal.entered
        values |= {
            "actor_kind": principal.kind,
            # The id of a deployment's caller is the very key that was sent.
            "actor_id": "" if principal.kind == "deployment" else principal.id,
            "actor_name": principal.name,
            "token_id": principal.token_id,
            "workspace_id": principal.workspace_id or (entered.id if entered else None) or None,
        }
    return values


def _shown_path(scope: Scope) -> str:
    path: str = scope["path"]
    # Some addresses have a credential in them; of those that match no route, the first part says
    # enough.
    return path if path.startswith("/v1/") else "/" + path.split("/")[1]


def _kept(text: str) -> str:
    cut = text[:_LONGEST_VALUE]
    return cut.encode(errors="replace").decode().replace("\0", "")
