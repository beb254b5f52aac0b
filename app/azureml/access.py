"""The run that a call of the ``azureml-core`` package is about, for callers who may see it.

A run's own token opens its own run, and those that its script made below it. Every other run is, as
in the rest of this package's answers, not there: the caller learns nothing about it.
"""

from typing import Annotated

from fastapi import Depends
from sqlalchemy import or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.access import AnyAccess
from app.auth.principal import Principal
from app.azureml.errors import WorkspaceNotFound
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.errors import Forbidden
from app.runs.access import RunId
from app.runs.errors import AttemptSuperseded, RunNotFound
from app.tables.run import Run
from app.tables.workspace import Workspace
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep

SCOPE = (
    "/subscriptions/{subscription_id}/resourceGroups/{resource_group}"
    "/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
)
"""How the package names a workspace in the path of every call."""
CLIENT_RUN_ID = "client_run_id"
"""Where a child's request says under which id the package knows it."""


async def _workspace(
    workspace: WorkspaceDep, subscription_id: str, resource_group: str, principal: AnyAccess
) -> Workspace:
    if principal.kind not in ("user", "run"):
        raise Forbidden(f"A {principal.kind} token may not do this.")
    if subscription_id != workspace.id:
        raise WorkspaceNotFound(f"Subscription {subscription_id!r} has no such workspace.")
    return workspace


ScopeDep = Annotated[Workspace, Depends(_workspace, scope="function")]
"""The workspace that the path names; 404 when its parts do not fit together."""


async def _run(
    workspace: ScopeDep, azureml_run_id: RunId, session: SessionDep, caller: AnyAccess
) -> Run:
    return await get_visible(session, workspace, azureml_run_id, caller)


AzureRunDep = Annotated[Run, Depends(_run, scope="function")]
"""The row of ``{azureml_run_id}`` in the path: a script may name its children, too."""


async def _detached_run(
    workspace: DetachedWorkspaceDep,
    subscription_id: str,
    resource_group: str,
    azureml_run_id: RunId,
    database: DatabaseDep,
    caller: AnyAccess,
) -> Run:
    scope = await _workspace(workspace, subscription_id, resource_group, caller)
    async with database.session() as session:
        return await get_visible(session, scope, azureml_run_id, caller)


DetachedAzureRunDep = Annotated[Run, Depends(_detached_run)]
"""The same, and no session stays open behind it."""


async def get_visible(
    session: AsyncSession, workspace: Workspace, run_id: str, caller: Principal
) -> Run:
    """The run of this id, for this caller.

    Raises:
        RunNotFound: there is none.
    """
    run = await find_visible(session, workspace, run_id, caller)
    if run is None:
        raise RunNotFound(run_id)
    return run


async def find_visible(
    session: AsyncSession, workspace: Workspace, run_id: str, caller: Principal
) -> Run | None:
    """The run of this id, for this caller; a child also under the id that the package gave it."""
    ours = select(Run).where(Run.workspace_id == workspace.id)
    ours = ours.execution_options(populate_existing=True)
    if caller.kind != "run":
        return (await session.execute(ours.where(Run.id == run_id))).scalar_one_or_none()
    mine = ours.where(or_(Run.id == caller.id, Run.creator_run_id == caller.id))
    found = (await session.execute(mine.where(Run.id == run_id))).scalar_one_or_none()
    if found is not None:
        return found
    named = ours.where(Run.creator_run_id == caller.id, Run.request[CLIENT_RUN_ID].astext == run_id)
    return (await session.execute(named)).scalar_one_or_none()


async def check_current(session: AsyncSession, caller: Principal, run: Run) -> None:
    """Let a script write only while its attempt is its run's present one.

    Raises:
        AttemptSuperseded: another attempt has taken over.
    """
    if caller.kind != "run":
        return
    own = run if run.id == caller.id else await session.get(Run, caller.id)
    if own is None or own.attempt != caller.attempt:
        raise AttemptSuperseded("Another attempt of this run has taken over.")
