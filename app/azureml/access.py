"""The run that a call of the ``azureml-core`` package is about, for callers who may see it.

A run's own token opens its own run only. Every other run is, as in the rest of this package's
answers, not there: the caller learns nothing about it.
"""

from typing import Annotated

from fastapi import Depends

from app.auth.access import AnyAccess
from app.auth.principal import Principal
from app.azureml.errors import WorkspaceNotFound
from app.kernel.db import SessionDep
from app.kernel.errors import Forbidden
from app.runs import repository
from app.runs.access import RunId
from app.runs.errors import AttemptSuperseded, RunNotFound
from app.tables.run import Run
from app.tables.workspace import Workspace
from app.workspaces.access import WorkspaceDep

SCOPE = (
    "/subscriptions/{subscription_id}/resourceGroups/{resource_group}"
    "/providers/Microsoft.MachineLearningServices/workspaces/{workspace}"
)
"""How the package names a workspace in the path of every call."""


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


async def _run(workspace: ScopeDep, run_id: RunId, session: SessionDep, caller: AnyAccess) -> Run:
    return await _visible(session, workspace, run_id, caller)


async def _visible(
    session: SessionDep, workspace: Workspace, run_id: str, caller: Principal
) -> Run:
    if caller.kind == "run" and caller.id != run_id:
        raise RunNotFound(run_id)
    return await repository.get(session, workspace.id, run_id)


AzureRunDep = Annotated[Run, Depends(_run, scope="function")]
"""The row of ``{run_id}`` in the path."""


def check_current(caller: Principal, run: Run) -> None:
    """Let a script write only while its attempt is the run's present one.

    Raises:
        AttemptSuperseded: another attempt has taken over.
    """
    if caller.kind == "run" and caller.attempt != run.attempt:
        raise AttemptSuperseded("Another attempt of this run has taken over.")
