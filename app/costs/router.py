"""Routes of prices, costs and budgets."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query, Request, Response

from app.auth.access import UserAccess
from app.auth.assignments import sees_workspace
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.clusters.errors import VmSizeNotFound
from app.clusters.vm_sizes import vm_sizes
from app.costs import prices, service
from app.costs.charges import By
from app.costs.periods import bounds
from app.costs.reports import Between, report
from app.costs.schemas import BudgetPut, BudgetRead, CostReport, PricePut, PriceRead
from app.kernel.clock import utc_now
from app.kernel.config import Settings, SettingsDep
from app.kernel.db import SessionDep
from app.kernel.errors import invalid_field
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.names import NamePath
from app.kernel.pagination import LongPageDep, Page, PageDep
from app.kernel.validate_only import VALIDATES
from app.tables.cost import Budget, Charge
from app.workspaces.access import WorkspaceDep

router = APIRouter(prefix="/v1/costs", tags=["costs"])
prices_router = APIRouter(prefix="/v1/vm-sizes/{vm_size}", tags=["costs"], route_class=WriteRoute)
workspace_router = APIRouter(
    prefix="/v1/workspaces/{workspace}", tags=["costs"], route_class=WriteRoute
)


async def _between(
    since: Annotated[
        datetime | None, Query(description="Absent: the beginning of this month, in UTC")
    ] = None,
    until: Annotated[datetime | None, Query(description="Absent: now")] = None,
) -> Between:
    now = utc_now()
    found = Between(
        since or bounds("month", now)[0], until or now, until is None, f"{since} to {until}"
    )
    for name, moment in (("since", found.since), ("until", found.until)):
        if moment.tzinfo is None:
            message = "Give the offset from UTC as well, as in 2026-11-01T00:00:00Z."
            raise invalid_field(f"/{name}", "offset_missing", message)
    if found.since >= found.until:
        raise invalid_field("/since", "since_over_until", "since must be before until.")
    return found


BetweenDep = Annotated[Between, Depends(_between)]


@prices_router.get("/prices")
@needs("account.read")
async def list_prices(
    vm_size: NamePath, session: SessionDep, settings: SettingsDep, page: PageDep, _: UserAccess
) -> Page[PriceRead]:
    """Prices that were set for a size, the newest first."""
    rows, following = await prices.history(session, _size_name(settings, vm_size), page)
    return Page(items=[PriceRead.model_validate(row) for row in rows], next_page_token=following)


@prices_router.put("/price", dependencies=[VALIDATES])
@needs("platform.write")
async def put_price(
    vm_size: NamePath,
    body: PricePut,
    session: SessionDep,
    settings: SettingsDep,
    principal: UserAccess,
) -> PricePut:
    """Set the price of a size from now on; attempts that have their nodes keep theirs."""
    await prices.put(
        session,
        settings,
        vm_size=_size_name(settings, vm_size),
        price_per_hour=body.price_per_hour,
        actor=principal.name,
    )
    return body


def _size_name(settings: Settings, name: str) -> str:
    if name.upper() not in vm_sizes(settings.vm_sizes_file):
        raise VmSizeNotFound(name)
    return name.upper()


@router.get("")
@needs("platform.read")
async def list_costs(
    session: SessionDep,
    settings: SettingsDep,
    between: BetweenDep,
    page: LongPageDep,
    _: UserAccess,
    by: Annotated[By, Query(description="What is summed up")] = "workspace",
) -> CostReport:
    """What all workspaces spent."""
    return await report(
        session, settings, by=by, between=between, page=page, whose="all", conditions=[]
    )


@router.get("/mine")
@needs("account.read")
async def list_my_costs(
    session: SessionDep,
    settings: SettingsDep,
    between: BetweenDep,
    page: LongPageDep,
    principal: UserAccess,
) -> CostReport:
    """What the caller's runs cost, by workspace."""
    return await report(
        session,
        settings,
        by="workspace",
        between=between,
        page=page,
        whose=f"user {principal.name}",
        conditions=[Charge.created_by == principal.name, sees_workspace(principal)],
    )


@workspace_router.get("/costs")
@needs("runs.read")
async def list_workspace_costs(
    workspace: WorkspaceDep,
    session: SessionDep,
    settings: SettingsDep,
    between: BetweenDep,
    page: LongPageDep,
    _: UserAccess,
    by: Annotated[
        Literal["user", "experiment", "cluster", "vm_size"], Query(description="What is summed up")
    ] = "user",
) -> CostReport:
    """What the runs of a workspace cost; deleted ones count."""
    return await report(
        session,
        settings,
        by=by,
        between=between,
        page=page,
        whose=f"workspace {workspace.id}",
        conditions=[Charge.workspace_id == workspace.id],
    )


@workspace_router.get("/budget")
@needs("workspace.read")
async def get_budget(
    workspace: WorkspaceDep,
    session: SessionDep,
    settings: SettingsDep,
    response: Response,
    _: UserAccess,
) -> BudgetRead:
    """What the workspace may spend, has spent and keeps for what runs."""
    row = await service.get(session, workspace.id)
    response.headers["ETag"] = _etag(row)
    return await service.read(session, settings, row)


@workspace_router.put(
    "/budget",
    responses={201: {"model": BudgetRead, "description": "It had none"}},
    dependencies=[VALIDATES],
)
@needs("platform.write")
async def put_budget(
    workspace: WorkspaceDep,
    body: BudgetPut,
    session: SessionDep,
    settings: SettingsDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> BudgetRead:
    """Set what the workspace may spend: for administrators; less than is spent stops its runs."""
    await service.lock(session)
    found = await service.find(session, workspace.id)
    check_preconditions(request, _etag(found) if found else None)
    response.status_code = 200 if found else 201
    row = await service.put(session, found, workspace.id, body)
    response.headers["ETag"] = _etag(row)
    return await service.read(session, settings, row)


@workspace_router.delete("/budget", status_code=204)
@needs("platform.write")
async def delete_budget(
    workspace: WorkspaceDep, session: SessionDep, request: Request, _: UserAccess
) -> None:
    """Let the workspace spend what it likes; 204 also when it has no budget."""
    await service.lock(session)
    row = await service.find(session, workspace.id)
    if row is not None:
        check_preconditions(request, _etag(row))
        await session.delete(row)


def _etag(row: Budget) -> str:
    return resource_etag(f"{row.workspace_id}/budget", row.updated_at)
