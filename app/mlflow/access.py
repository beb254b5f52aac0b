"""Who asks below a workspace's tracking address, and what is theirs.

A user's token is good for everything in the workspace. A run's own token is good for its run, for
the tracked runs that its script made, and for reading registered models; whatever else there is, is
not there.
"""

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Path, Query
from sqlalchemy import ColumnElement, and_, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.access import UserOrRunAccess
from app.auth.principal import Principal
from app.kernel.names import WORKSPACE_PATTERN
from app.mlflow.errors import InvalidParameter, NoPermission, NoSuchResource
from app.runs.errors import AttemptSuperseded
from app.tables.run import Run
from app.tables.workspace import Workspace
from app.workspaces import repository as workspaces
from app.workspaces.access import WorkspaceDep, check_workspace
from app.workspaces.detached import DetachedWorkspaceDep


@dataclass(frozen=True)
class Caller:
    """A caller in a workspace."""

    workspace: Workspace
    principal: Principal

    @property
    def is_script(self) -> bool:
        """Whether a run's own token was sent."""
        return self.principal.kind == "run"

    @property
    def attempt(self) -> int:
        """The attempt whose script asks; 0 for a user."""
        return self.principal.attempt

    def require_user(self) -> None:
        """Refuse a run's token.

        Raises:
            NoPermission: it is one.
        """
        if self.is_script:
            raise NoPermission("A run's token may not do this; use an API token.")

    def sees(self) -> ColumnElement[bool]:
        """The condition for runs that are the caller's to see."""
        return seen_by(self.principal, self.workspace.id)


def seen_by(principal: Principal, workspace_id: str) -> ColumnElement[bool]:
    """The condition for runs of a workspace that are a caller's to see."""
    return seen(workspace_id, principal.id if principal.kind == "run" else None)


def seen(workspace_id: Any, script_run_id: Any) -> ColumnElement[bool]:
    """The same of a workspace and of the run whose script asks; None: a user.

    Both may be parameters of a statement.
    """
    ours: ColumnElement[bool] = Run.workspace_id == workspace_id
    if script_run_id is None:
        return ours
    return and_(ours, or_(Run.id == script_run_id, Run.creator_run_id == script_run_id))


async def _caller(workspace: WorkspaceDep, principal: UserOrRunAccess) -> Caller:
    return Caller(workspace, principal)


async def _detached_caller(workspace: DetachedWorkspaceDep, principal: UserOrRunAccess) -> Caller:
    return Caller(workspace, principal)


async def caller_of(session: AsyncSession, workspace: str, principal: Principal) -> Caller:
    """The caller in the workspace of this name.

    Raises:
        NotFound, Forbidden: there is none such for it.
    """
    row = await workspaces.get(session, workspace)
    check_workspace(principal, row)
    return Caller(row, principal)


WorkspaceName = Annotated[str, Path(pattern=WORKSPACE_PATTERN)]
NonEmptyText = Annotated[str, Query(min_length=1)]
"""A parameter of the address that must be there; one without a value is not."""
CallerDep = Annotated[Caller, Depends(_caller, scope="function")]
DetachedCallerDep = Annotated[Caller, Depends(_detached_caller)]
"""The same for uploads and downloads: no database session is held meanwhile."""


async def find_run(session: AsyncSession, caller: Caller, run_id: str | None) -> Run:
    """A run that the caller may see.

    Raises:
        InvalidParameter: none was named.
        NoSuchResource: there is none such for the caller.
    """
    wanted = required_run(run_id)
    statement = (
        select(Run).where(Run.id == wanted, caller.sees()).execution_options(populate_existing=True)
    )
    run = (await session.execute(statement)).scalar_one_or_none()
    if run is None:
        raise no_such_run(wanted)
    return run


def required_run(run_id: str | None) -> str:
    """The id of a run that must be named.

    Raises:
        InvalidParameter: none was named.
    """
    if not run_id:
        raise InvalidParameter("Missing value for required parameter 'run_id'.")
    return run_id


def no_such_run(run_id: str) -> NoSuchResource:
    """That there is no such run for the caller."""
    return NoSuchResource(f"Run with id={run_id} not found")


async def check_current(session: AsyncSession, caller: Caller, run: Run) -> None:
    """Let a script write only while its attempt is its run's present one.

    Raises:
        AttemptSuperseded: another attempt has taken over.
    """
    if not caller.is_script:
        return
    own = run if run.id == caller.principal.id else await session.get(Run, caller.principal.id)
    if own is None or own.attempt != caller.attempt:
        raise AttemptSuperseded("Another attempt of this run has taken over.")


def check_active(run: Run) -> None:
    """Refuse changes to a run that was deleted.

    Raises:
        InvalidParameter: it was.
    """
    if run.deleted_at is not None:
        raise InvalidParameter(
            f"The run {run.id} must be in the 'active' state. Current state is deleted."
        )
