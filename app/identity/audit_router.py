"""Routes that read the audit log."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.needs import needs
from app.kernel.clock import Moment
from app.kernel.db import SessionDep
from app.kernel.pagination import Page, PageDep, PageQuery, fetch_page
from app.tables.audit import AuditEvent
from app.workspaces.access import WorkspaceDep

router = APIRouter(prefix="/v1/audit", tags=["audit"])
workspace_router = APIRouter(prefix="/v1/workspaces/{workspace}/audit", tags=["audit"])


class AuditEventRead(BaseModel):
    """One thing that somebody did, or tried to."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    at: AwareDatetime
    actor_kind: str = Field(description="user, run, deployment or operator; empty: nobody knows")
    actor_id: str
    actor_name: str
    token_id: str
    operation: str = Field(description="operationId of the API, or a command of the operator's")
    permission: str
    target: dict[str, Any] = Field(description="What the address names")
    workspace_id: str | None
    outcome: Literal["done", "denied"]
    status: int = Field(description="Of the answer; 200 stands for all that is written with it")
    address: str
    request_id: str


class AuditQuery(BaseModel):
    """Which events are wanted."""

    actor: str | None
    operation: str | None
    outcome: str | None
    since: Moment | None
    until: Moment | None

    def within(self, statement: Select[Any]) -> Select[Any]:
        """A query of events, limited to these."""
        for column, value in (
            (AuditEvent.actor_name, self.actor),
            (AuditEvent.operation, self.operation),
            (AuditEvent.outcome, self.outcome),
        ):
            if value is not None:
                statement = statement.where(column == value)
        if self.since is not None:
            statement = statement.where(AuditEvent.at >= self.since)
        if self.until is not None:
            statement = statement.where(AuditEvent.at < self.until)
        return statement


async def _query(
    actor: Annotated[str | None, Query(max_length=300, description="Name of who did it")] = None,
    operation: Annotated[str | None, Query(max_length=300)] = None,
    outcome: Literal["done", "denied"] | None = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> AuditQuery:
    return AuditQuery(actor=actor, operation=operation, outcome=outcome, since=since, until=until)


AuditQueryDep = Annotated[AuditQuery, Depends(_query)]


@router.get("")
@needs("audit.read_all")
async def list_audit_events(
    session: SessionDep, page: PageDep, wanted: AuditQueryDep
) -> Page[AuditEventRead]:
    """What was changed and what was denied, everywhere; newest first."""
    return await _page(session, wanted.within(select(AuditEvent)), page)


@workspace_router.get("")
@needs("audit.read")
async def list_workspace_audit_events(
    workspace: WorkspaceDep, session: SessionDep, page: PageDep, wanted: AuditQueryDep
) -> Page[AuditEventRead]:
    """What was changed and what was denied in a workspace; newest first."""
    ours = select(AuditEvent).where(AuditEvent.workspace_id == workspace.id)
    return await _page(session, wanted.within(ours), page)


async def _page(
    session: AsyncSession, statement: Select[Any], page: PageQuery
) -> Page[AuditEventRead]:
    rows: list[AuditEvent]
    rows, following = await fetch_page(
        session,
        statement,
        keys=[AuditEvent.id],
        page=page,
        key_of=lambda row: [row.id],
        descending=True,
    )
    return Page.of(rows, AuditEventRead.model_validate, following)
