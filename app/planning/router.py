"""Routes of quotas: for administrators."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.kernel.db import SessionDep
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.pagination import Page, PageDep
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.planning import quotas
from app.planning.schemas import QuotaKind, QuotaPut, QuotaRead
from app.planning.service import wake_planner

router = APIRouter(prefix="/v1/quotas", tags=["quotas"], route_class=WriteRoute)

Owner = Annotated[str, Path(max_length=200, description="Name of the workspace or the user")]


@router.get("")
@needs("platform.read")
async def list_quotas(session: SessionDep, page: PageDep) -> Page[QuotaRead]:
    """All quotas that are set, by kind and name."""
    items, following = await quotas.list_page(session, page)
    return Page(items=items, next_page_token=following)


@router.get("/{kind}/{owner}")
@needs("platform.read")
async def get_quota(
    kind: QuotaKind, owner: Owner, session: SessionDep, response: Response
) -> QuotaRead:
    """The quota of a workspace or a user."""
    return _answer(await quotas.get(session, kind, owner), response)


@router.put(
    "/{kind}/{owner}",
    responses={201: {"model": QuotaRead, "description": "Created"}},
    dependencies=[VALIDATES],
)
@needs("platform.write")
async def put_quota(
    kind: QuotaKind,
    owner: Owner,
    body: QuotaPut,
    session: SessionDep,
    request: Request,
    response: Response,
) -> QuotaRead:
    """Set what a workspace or a user may have at a time; what runs already goes on."""
    await wake_planner(session)  # first: nobody else changes quotas then
    found = await quotas.find(session, kind, owner)
    check_preconditions(request, _etag(found) if found else None)
    quota, is_new = await quotas.put(session, kind, owner, body)
    if is_new:
        response.status_code = 201
        response.headers["Location"] = absolute_url(request, request.url.path)
    return _answer(quota, response)


@router.delete("/{kind}/{owner}", status_code=204)
@needs("platform.write")
async def delete_quota(
    kind: QuotaKind, owner: Owner, session: SessionDep, request: Request
) -> None:
    """Lift a quota; 204 also when there is none."""
    await wake_planner(session)
    found = await quotas.find(session, kind, owner)
    if found is None:
        return
    check_preconditions(request, _etag(found))
    await quotas.delete(session, kind, owner)


def _answer(quota: QuotaRead, response: Response) -> QuotaRead:
    response.headers["ETag"] = _etag(quota)
    return quota


def _etag(quota: QuotaRead) -> str:
    return resource_etag(f"{quota.kind}/{quota.owner}", quota.updated_at)
