"""Routes of a run's events: a page, a long poll, or a stream."""

import time
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from app.auth.needs import needs
from app.kernel.db import Database, DatabaseDep
from app.kernel.errors import FieldError, Invalid
from app.kernel.json import json_bytes
from app.kernel.orm import MAX_INTEGER
from app.kernel.signals import Signals
from app.runs import repository
from app.runs.access import DetachedRunDep
from app.runs.schemas import RunEventList, RunEventRead
from app.runs.states import TERMINAL
from app.runs.transitions import RUN_TOPIC

router = APIRouter(prefix="/v1/workspaces/{workspace}/runs/{run_id}/events", tags=["runs"])

_POLL_SECONDS = 1.0
_KEEP_ALIVE_SECONDS = 15.0
_SSE = "text/event-stream"


@router.get(
    "",
    response_model=RunEventList,
    responses={200: {"content": {_SSE: {"schema": {"type": "string"}}}}},
)
@needs("runs.read", run=True)
async def list_run_events(
    run: DetachedRunDep,
    request: Request,
    database: DatabaseDep,
    after: Annotated[
        int, Query(ge=0, le=MAX_INTEGER, description="Number of the last event you have")
    ] = 0,
    wait: Annotated[
        float, Query(ge=0, le=60, description="Seconds to wait for an event if there is none")
    ] = 0,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response | RunEventList:
    """Events after a number; with ``Accept: text/event-stream`` as a stream until the end."""
    signals: Signals = request.app.state.signals
    if _SSE in request.headers.get("accept", ""):
        start = _last_event_id(last_event_id, after)
        stream = _stream(database, signals, run.id, start)
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(stream, media_type=_SSE, headers=headers)
    deadline = time.monotonic() + wait
    with signals.subscribe(RUN_TOPIC, run.id) as subscription:
        while True:
            events = await _read(database, run.id, after)
            left = deadline - time.monotonic()
            if events or left <= 0 or await request.is_disconnected():
                return RunEventList(items=events)
            await subscription.wait(timeout_seconds=min(left, _POLL_SECONDS))


def _last_event_id(header: str | None, after: int) -> int:
    if header is None:
        return after
    if not (header.isascii() and header.isdigit() and int(header) <= MAX_INTEGER):
        message = "Last-Event-ID must be the number of an event."
        raise Invalid(message, errors=[FieldError("header/Last-Event-ID", "bad_event_id", message)])
    return int(header)


async def _read(database: Database, run_id: str, after: int) -> list[RunEventRead]:
    async with database.session() as session:
        rows = await repository.events_after(session, run_id, after)
        return [RunEventRead.model_validate(row) for row in rows]


async def _stream(
    database: Database, signals: Signals, run_id: str, after: int
) -> AsyncIterator[bytes]:
    yield b": stream of events\n\n"
    silent_seconds = 0.0
    with signals.subscribe(RUN_TOPIC, run_id) as subscription:
        while True:
            events = await _read(database, run_id, after)
            for event in events:
                after = event.seq
                data = json_bytes(event.model_dump(mode="json")).decode().strip()
                yield f"id: {event.seq}\nevent: {event.type}\ndata: {data}\n\n".encode()
            if any(event.status in TERMINAL for event in events):
                return
            silent_seconds = 0.0 if events else silent_seconds
            if not await subscription.wait(timeout_seconds=_POLL_SECONDS):
                # Looked at anyway: a signal may be lost while the broker is away.
                silent_seconds += _POLL_SECONDS
            if silent_seconds >= _KEEP_ALIVE_SECONDS:
                silent_seconds = 0.0
                yield b": still here\n\n"
