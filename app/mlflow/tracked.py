"""Runs that a client keeps by itself, and what a client may say about jobs of ours."""

from typing import Any

from pydantic_core import to_json
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from starlette.types import Scope

from app.auth.audit import event_insert, event_of, note_recorded
from app.auth.principal import Principal
from app.kernel.clock import utc_now
from app.kernel.direct import DirectPool, Statement
from app.kernel.ids import new_id
from app.mlflow import experiments, names, run_documents
from app.mlflow.access import Caller, check_active, check_current, find_run
from app.mlflow.errors import InvalidParameter, NoPermission
from app.mlflow.moments import from_milliseconds, milliseconds
from app.mlflow.run_schemas import RunCreate, RunUpdate
from app.runs.states import TERMINAL, TRACKED, Status
from app.runs.transitions import add_event, lock_run, transition
from app.tables.experiment import Experiment
from app.tables.run import Run

_CREATE = Statement(
    text(f"""
WITH target AS (
    SELECT id, workspace_id, name FROM experiments
    WHERE id = :experiment_id AND workspace_id = :workspace_id AND deleted_at IS NULL
), made AS (
    INSERT INTO runs (id, workspace_id, experiment_id, kind, created_by, display_name, tags,
        request, status, event_seq, max_attempts, node_count, next_check_at, started_at)
    SELECT :run_id, workspace_id, id, 'tracked', :actor, :name, CAST(:tags AS jsonb),
        CAST(:request AS jsonb), 'Running', 2, 1, 0, NULL,
        coalesce(CAST(:started_at AS timestamptz), clock_timestamp())
    FROM target
    RETURNING id, experiment_id, kind, status, tags, started_at
), told AS (
    INSERT INTO run_events (run_id, seq, type, status, actor, data)
    SELECT made.id, seq, type, event.status, :actor, CAST(data AS jsonb)
    FROM made CROSS JOIN (VALUES
        (1, 'submitted', 'NotStarted', '{{}}'),
        (2, 'state_changed', 'Running', '{{"from": "NotStarted", "to": "Running"}}')
    ) AS event(seq, type, status, data)
), audited AS (
    {event_insert("made")}
)
SELECT made.id AS run_id, experiment_id, target.name AS experiment_name, kind, status, tags,
    started_at
FROM made CROSS JOIN target
""")  # noqa: S608
)
"""A run and its first two events, as `write` makes them."""


async def create_at_once(
    direct: DirectPool, scope: Scope, workspace_id: str, body: RunCreate
) -> dict[str, Any] | None:
    """Write a user's tracked run with its events, running already, in one round trip.

    The audit log's event of the request in ``scope`` is written with it.

    Nobody can wait for events of a run that was not there before, so no signal is sent.

    Returns:
        The run as clients read it; None: nothing was written, and the longer way says why, or
        makes the experiment that clients begin with.

    Raises:
        InvalidParameter: the run has two names.
    """
    principal: Principal = scope["principal"]
    if principal.kind != "user" or body.experiment_id == names.DEFAULT_ID:
        return None
    name, tags = _said(body)
    given = {"run_id": new_id("run"), "experiment_id": body.experiment_id, "name": name}
    row = await direct.row(
        _CREATE,
        workspace_id=workspace_id,
        actor=principal.name,
        audit=event_of(scope),
        tags=to_json(tags).decode(),
        request=to_json(_made_with(body.user_id)).decode(),
        started_at=None if body.start_time is None else from_milliseconds(body.start_time),
        **given,
    )
    if row is None:
        return None
    note_recorded(scope)
    written = {
        **row,
        "run_name": name or given["run_id"],
        "user_id": body.user_id or tags.get(names.USER_TAG, principal.name),
        "start_time": milliseconds(row["started_at"]),
    }
    return run_documents.of_new_run(written)


async def create(session: AsyncSession, caller: Caller, body: RunCreate) -> Run:
    """Write a tracked run, running already.

    Raises:
        InvalidParameter: the experiment is deleted, or the run has two names.
        NoPermission: a script may make runs in the experiment of its own run only.
        NoSuchResource: there is no such experiment.
    """
    experiment = await experiments.get(session, caller, body.experiment_id)
    experiments.check_active(experiment)
    if caller.is_script:
        own = await find_run(session, caller, caller.principal.id)
        await check_current(session, caller, own)
        if own.experiment_id != experiment.id:
            raise NoPermission("A script may make runs in the experiment of its own run only.")
    name, tags = _said(body)
    return await write(
        session,
        caller,
        experiment,
        name=name,
        tags=tags,
        user_id=body.user_id,
        start_time=body.start_time,
    )


def _said(body: RunCreate) -> tuple[str, dict[str, str]]:
    """The name and the tags of a new run, as its client says.

    Raises:
        InvalidParameter: it has two names.
    """
    tags = {tag.key: tag.value for tag in body.tags}
    name = tags.pop(names.RUN_NAME_TAG, "")
    if body.run_name and name and body.run_name != name:
        raise InvalidParameter(
            f"Both 'run_name' argument and '{names.RUN_NAME_TAG}' tag are specified, but with "
            f"different values (run_name='{body.run_name}', {names.RUN_NAME_TAG}='{name}')."
        )
    return body.run_name or name, tags


def _made_with(user_id: str) -> dict[str, Any]:
    """What a tracked run was made with, as its row has it."""
    return {"inputs": {}, **({names.USER_ID: user_id} if user_id else {})}


async def write(
    session: AsyncSession,
    caller: Caller,
    experiment: Experiment,
    *,
    name: str,
    tags: dict[str, str],
    user_id: str = "",
    start_time: int | None = None,
) -> Run:
    """Write a tracked run of an experiment, running already.

    Args:
        session: the transaction.
        caller: whose it is; a script's are marked as such.
        experiment: where it belongs.
        name: to be shown; may be empty.
        tags: of the run.
        user_id: who makes it, as the client says; may be empty.
        start_time: milliseconds since 1970, as the client says; None: now.
    """
    run = Run(
        id=new_id("run"),
        workspace_id=caller.workspace.id,
        experiment_id=experiment.id,
        kind=TRACKED,
        creator_run_id=caller.principal.id if caller.is_script else None,
        created_by=caller.principal.name,
        display_name=name,
        tags=tags,
        request=_made_with(user_id),
        status=Status.NOT_STARTED,
        event_seq=0,
        attempt=0,
        blockers=[],
        max_attempts=1,
        node_count=0,
        next_check_at=None,
        started_at=utc_now() if start_time is None else from_milliseconds(start_time),
    )
    session.add(run)
    await session.flush()
    actor = caller.principal.name
    add_event(session, run, kind="submitted", actor=actor)
    transition(session, run, Status.RUNNING, actor=actor)
    await session.flush()
    return run


async def update(session: AsyncSession, caller: Caller, body: RunUpdate) -> Run:
    """Take down what a client says about a run's state, end and name.

    A job's state is what happens to its processes: there, the client's word is only noted.
    """
    run = await _locked(session, caller, body.run)
    check_active(run)
    await check_current(session, caller, run)
    if body.run_name:
        run.display_name = body.run_name
    if run.kind == TRACKED:
        _say_state(session, caller, run, body)
    elif body.status is not None and run.status not in TERMINAL:
        data: dict[str, Any] = {"name": f"mlflow.{body.status}"}
        add_event(session, run, kind="client_event", actor=caller.principal.name, data=data)
    await session.flush()
    return run


def _say_state(session: AsyncSession, caller: Caller, run: Run, body: RunUpdate) -> None:
    if body.status is not None and names.OURS[body.status] != run.status:
        ended_at = run.ended_at
        transition(session, run, names.OURS[body.status], actor=caller.principal.name)
        if ended_at is not None and run.status in TERMINAL:
            run.ended_at = ended_at  # it ended otherwise, and not later
    if body.end_time is not None and run.status in TERMINAL:
        run.ended_at = from_milliseconds(body.end_time)


async def delete(session: AsyncSession, caller: Caller, run_id: str) -> None:
    """Hide a run.

    Raises:
        InvalidParameter: it is a job that has not ended.
    """
    caller.require_user()
    run = await _locked(session, caller, run_id)
    if run.deleted_at is not None:
        return
    if run.kind != TRACKED and run.status not in TERMINAL:
        raise InvalidParameter(f"Run {run.id} is {run.status}: cancel it before deleting it.")
    run.deleted_at = utc_now()
    add_event(session, run, kind="deleted", actor=caller.principal.name)


async def restore(session: AsyncSession, caller: Caller, run_id: str) -> None:
    """Show a deleted run again."""
    caller.require_user()
    run = await _locked(session, caller, run_id)
    if run.deleted_at is None:
        return
    run.deleted_at = None
    add_event(session, run, kind="restored", actor=caller.principal.name)


async def _locked(session: AsyncSession, caller: Caller, run_id: str) -> Run:
    await find_run(session, caller, run_id)
    return await lock_run(session, run_id)
