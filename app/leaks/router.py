"""What the provider holds without an owner."""

from fastapi import APIRouter

from app.auth.access import UserAccess
from app.auth.needs import needs
from app.kernel.db import SessionDep
from app.kernel.pagination import Page, PageDep
from app.leaks import repository
from app.leaks.schemas import LeakRead

router = APIRouter(prefix="/v1/leaks", tags=["health"])


@router.get("")
@needs("platform.read")
async def list_leaks(session: SessionDep, page: PageDep, _: UserAccess) -> Page[LeakRead]:
    """Nodes and networks of this installation that no run and no deployment owns.

    A worker looks for them regularly, and removes what stays for longer than the grace period.
    """
    rows, following = await repository.list_page(session, page)
    return Page(items=[LeakRead.model_validate(row) for row in rows], next_page_token=following)
