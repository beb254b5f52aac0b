"""Routes of quotas: for administrators."""

from typing import Annotated

from fastapi import APIRouter, Path, Response

from app.auth.needs import needs
from app.kernel.db import SessionDep
from app.kernel.pagination import Page
from app.planning import quotas
from app.planning.schemas import QuotaKind, QuotaPut, QuotaRead

router = APIRouter(prefix="/v1/quotas", tags=["quotas"])

Owner = Annotated[str, Path(max_length=200, description="Name of the workspace or the user")]


@router.get("")
@needs("platform.read")
async def list_quotas(session: SessionDep) -> Page[QuotaRead]:
    """All quotas that are set."""
    return Page(items=await quotas.list_all(session))


@router.get("/{kind}/{owner}")
@needs("platform.read")
async def get_quota(kind: QuotaKind, owner: Owner, session: SessionDep) -> QuotaRead:
    """The quota of a workspace or a user."""
    return await quotas.get(session, kind, owner)


@router.put("/{kind}/{owner}", responses={201: {"model": QuotaRead, "description": "Created"}})
@needs("platform.write")
async def put_quota(
    kind: QuotaKind, owner: Owner, body: QuotaPut, session: SessionDep, response: Response
) -> QuotaRead:
    """Set what a workspace or a user may have at a time; what runs already goes on."""
    quota, is_new = await quotas.put(session, kind, owner, body)
    response.status_code = 201 if is_new else 200
    return quota


@router.delete("/{kind}/{owner}", status_code=204)
@needs("platform.write")
async def delete_quota(kind: QuotaKind, owner: Owner, session: SessionDep) -> None:
    """Lift a quota; 204 also when there is none."""
    await quotas.delete(session, kind, owner)
