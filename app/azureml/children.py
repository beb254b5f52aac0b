"""Runs below a run, which its script makes and ends itself; they are tracked runs here."""

import re

from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.azureml.access import CLIENT_RUN_ID, check_current, find_visible, get_visible
from app.azureml.documents import PARENT_TAG
from app.azureml.errors import CallNotServed
from app.azureml.schemas import ChildRunSent, RunEventSent
from app.azureml.service import run_update
from app.mlflow import tracked
from app.mlflow.access import Caller
from app.runs.errors import RunNotFound
from app.runs.service import apply_properties
from app.runs.states import TERMINAL, TRACKED, Status
from app.runs.transitions import add_event, lock_run, transition
from app.tables.experiment import Experiment
from app.tables.run import Run
from app.tables.workspace import Workspace

_MOST = 10_000
_BELOW = re.compile(
    r"\(?RootRunId eq ([A-Za-z0-9_-]{1,256})\)?( and \(?RunId ne ([A-Za-z0-9_-]{1,256})\)?)?"
)
_STATES = {
    "Microsoft.MachineLearning.Run.Start": Status.RUNNING,
    "Microsoft.MachineLearning.Run.Completed": Status.COMPLETED,
    "Microsoft.MachineLearning.Run.Failed": Status.FAILED,
    "Microsoft.MachineLearning.Run.Canceled": Status.CANCELED,
}


async def create(
    session: AsyncSession,
    workspace: Workspace,
    caller: Principal,
    client_run_id: str,
    body: ChildRunSent,
) -> Run:
    """Write a run below another one; asking again changes nothing.

    Args:
        session: the transaction.
        workspace: where it is.
        caller: whose script makes it.
        client_run_id: how the package calls it; here it gets an id of ours.
        body: its parent, name, tags and properties.

    Raises:
        RunNotFound: no parent is named, or it is not the caller's.
        AttemptSuperseded: another attempt of the script's run has taken over.
    """
    if not body.parent_run_id:
        raise RunNotFound(client_run_id)
    parent = await get_visible(session, workspace, body.parent_run_id, caller)
    await check_current(session, caller, parent)
    # Two at once, because the answer to the first was slow, make one.
    await lock_run(session, parent.id)
    found = await find_visible(session, workspace, client_run_id, caller)
    if found is not None:
        return found
    about = run_update(body)
    tags = {key: value or "" for key, value in about.tags.items()}
    run = await tracked.write(
        session,
        Caller(workspace, caller),
        await session.get_one(Experiment, parent.experiment_id),
        name=about.display_name or body.name or "",
        tags={**tags, PARENT_TAG: parent.id},
    )
    run.description = about.description or ""
    apply_properties(run, about.properties)
    run.request = {**run.request, CLIENT_RUN_ID: client_run_id}
    await session.flush()
    await session.refresh(run)
    return run


async def note(session: AsyncSession, run: Run, event: RunEventSent, *, actor: str) -> None:
    """Take down what the package says of a run.

    A job's state is what happens to its processes: there, the word is only noted.
    """
    run = await lock_run(session, run.id)
    to = _STATES.get(event.name)
    if run.status in TERMINAL:
        # The package reports the end of a ``with`` even where the script has said that it failed.
        return
    if run.kind == TRACKED and to is not None:
        if run.status != to:
            transition(session, run, to, actor=actor)
    else:
        add_event(session, run, kind="client_event", actor=actor, data={"name": event.name})
    await session.flush()


async def below(session: AsyncSession, run: Run) -> list[Run]:
    """The runs directly below a run, oldest first."""
    statement = (
        _family(run.creator_run_id or run.id)
        .where(Run.tags[PARENT_TAG].astext == run.id)
        .limit(_MOST)
    )
    return list((await session.execute(statement)).scalars())


async def query(
    session: AsyncSession, workspace: Workspace, caller: Principal, words: str
) -> list[Run]:
    """A run with all that are below it, as the package asks for them.

    Raises:
        CallNotServed: another question.
        RunNotFound: there is no such run for this caller.
    """
    match = _BELOW.fullmatch(words.strip())
    if match is None:
        raise CallNotServed(f"Runs cannot be asked for with the filter {words!r} here.")
    root = await get_visible(session, workspace, match[1], caller)
    found = list((await session.execute(_family(root.id).limit(_MOST))).scalars())
    return [run for run in [root, *found] if run.id != match[3]]


def _family(root_id: str) -> Select[Run]:
    return (
        select(Run).where(Run.creator_run_id == root_id, Run.deleted_at.is_(None)).order_by(Run.id)
    )
