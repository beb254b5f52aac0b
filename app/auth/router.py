"""Routes about the caller and about tokens."""

from typing import Annotated

from fastapi import APIRouter, Query

from app.auth import repository, tokens
from app.auth.access import AnyAccess, UserAccess
from app.auth.idempotency import REPEATABLE_SECRET
from app.auth.needs import needs
from app.auth.schemas import Me, TokenCreate, TokenCreated, TokenRead
from app.auth.writes import WriteRoute
from app.kernel.db import SessionDep
from app.kernel.pagination import Page, PageDep

router = APIRouter(prefix="/v1", tags=["tokens"], route_class=WriteRoute)


@router.get("/me")
@needs("any-credential")
async def get_me(principal: AnyAccess) -> Me:
    """Who the caller is, and what the token is good for."""
    shown = "" if principal.kind == "deployment" else principal.id
    scope = principal.scope
    return Me(
        kind=principal.kind,
        id=shown,
        name=principal.name,
        token_id=principal.token_id,
        is_admin=principal.is_admin,
        permissions=None if scope.permissions is None else sorted(scope.permissions),
        workspace_ids=None if scope.workspaces is None else sorted(scope.workspaces),
    )


@router.post("/tokens", status_code=201, dependencies=[REPEATABLE_SECRET])
@needs("account.write")
async def create_token(
    body: TokenCreate, session: SessionDep, principal: UserAccess
) -> TokenCreated:
    """Make a token; the answer is the only place where its secret ever stands.

    It is the caller's own. An administrator may name another user, or a service account.
    """
    row, secret = await tokens.create(session, principal, body)
    return TokenCreated(**TokenRead.model_validate(row).model_dump(), token=secret)


@router.get("/tokens")
@needs("account.read")
async def list_tokens(
    session: SessionDep,
    page: PageDep,
    principal: UserAccess,
    user: Annotated[
        str | None, Query(max_length=128, description="A user's; `*`: everybody's; absent: own")
    ] = None,
) -> Page[TokenRead]:
    """The caller's tokens, without their secrets; administrators may ask for others'."""
    user_id = await tokens.whose(session, principal, user)
    rows, following = await repository.list_page(session, page, user_id=user_id)
    return Page.of(rows, TokenRead.model_validate, following)


@router.delete("/tokens/{token_id}", status_code=204)
@needs("account.write")
async def revoke_token(token_id: str, session: SessionDep, principal: UserAccess) -> None:
    """Revoke a token: from now on it is refused. Others' are administrators' to revoke."""
    await tokens.revoke(session, principal, token_id)
