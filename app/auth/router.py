"""Routes about the caller and about tokens."""

from fastapi import APIRouter

from app.auth import repository, service
from app.auth.access import AnyAccess, UserAccess
from app.auth.schemas import Me, TokenCreate, TokenCreated, TokenRead
from app.kernel.db import SessionDep
from app.kernel.pagination import Page, PageDep

router = APIRouter(prefix="/v1", tags=["tokens"])


@router.get("/me")
async def get_me(principal: AnyAccess) -> Me:
    """Who the caller is."""
    shown = "" if principal.kind == "deployment" else principal.id
    return Me(kind=principal.kind, id=shown, name=principal.name)


@router.post("/tokens", status_code=201)
async def create_token(body: TokenCreate, session: SessionDep, _: UserAccess) -> TokenCreated:
    """Make a token; the answer is the only place where its secret ever stands."""
    row, secret = await service.create_token(
        session, name=body.name, expires_in_seconds=body.expires_in_seconds
    )
    return TokenCreated(**TokenRead.model_validate(row).model_dump(), token=secret)


@router.get("/tokens")
async def list_tokens(session: SessionDep, page: PageDep, _: UserAccess) -> Page[TokenRead]:
    """All tokens, without their secrets."""
    rows, following = await repository.list_page(session, page)
    return Page(items=[TokenRead.model_validate(row) for row in rows], next_page_token=following)


@router.delete("/tokens/{token_id}", status_code=204)
async def revoke_token(token_id: str, session: SessionDep, _: UserAccess) -> None:
    """Revoke a token: from now on it is refused."""
    await repository.get(session, token_id)
    await repository.revoke(session, token_id)
