"""Routes of users and service accounts: for administrators."""

from fastapi import APIRouter, Request, Response

from app.auth.idempotency import REPEATABLE
from app.auth.needs import needs
from app.auth.permissions import ACCOUNT_PERMISSIONS, PLATFORM_PERMISSIONS, WORKSPACE_PERMISSIONS
from app.auth.writes import WriteRoute
from app.identity import users
from app.identity.schemas import (
    PermissionList,
    ServiceAccountCreate,
    UserCreate,
    UserPath,
    UserRead,
    UserUpdate,
)
from app.kernel.config import SettingsDep
from app.kernel.db import SessionDep
from app.kernel.errors import invalid_field
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.pagination import Page, PageDep
from app.kernel.row_locks import locked
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.tables.user import User

router = APIRouter(prefix="/v1", tags=["users"], route_class=WriteRoute)


@router.get("/permissions")
@needs("account.read")
async def list_permissions() -> PermissionList:
    """All permissions there are."""
    return PermissionList(
        workspace=sorted(WORKSPACE_PERMISSIONS),
        account=sorted(ACCOUNT_PERMISSIONS),
        platform=sorted(PLATFORM_PERMISSIONS),
    )


@router.get("/users")
@needs("users.read")
async def list_users(session: SessionDep, page: PageDep) -> Page[UserRead]:
    """People by name."""
    rows, following = await users.list_page(session, page, kind="user")
    return Page(items=[UserRead.model_validate(row) for row in rows], next_page_token=following)


@router.post("/users", status_code=201, dependencies=[REPEATABLE])
@needs("users.write")
async def create_user(
    body: UserCreate,
    session: SessionDep,
    settings: SettingsDep,
    request: Request,
    response: Response,
) -> UserRead:
    """Make a user; 409 if the name is taken. `POST /v1/tokens` makes tokens for them."""
    fields = body.model_dump(exclude={"sign_in_subject"})
    if body.sign_in_subject is not None:
        if not settings.oidc_issuer:
            message = "Nobody signs in here: no provider is set."
            raise invalid_field("/sign_in_subject", "sign_in_off", message)
        fields |= {"issuer": settings.oidc_issuer, "subject": body.sign_in_subject}
    row = await users.create(session, kind="user", fields=fields)
    response.headers["Location"] = absolute_url(request, f"/v1/users/{row.name}")
    return _answer(row, response)


@router.get("/users/{user}")
@needs("users.read")
async def get_user(user: UserPath, session: SessionDep, response: Response) -> UserRead:
    """One user."""
    return _answer(await users.get(session, user, kind="user"), response)


@router.patch("/users/{user}", dependencies=[VALIDATES])
@needs("users.write")
async def update_user(
    user: UserPath, body: UserUpdate, session: SessionDep, request: Request, response: Response
) -> UserRead:
    """Change what the body names; who is disabled is refused at once."""
    row = await locked(session, await users.get(session, user, kind="user"))
    check_preconditions(request, resource_etag(row.id, row.updated_at))
    changes = body.model_dump(include=body.model_fields_set)
    return _answer(await users.update(session, row, changes), response)


@router.delete("/users/{user}", status_code=204)
@needs("users.write")
async def delete_user(user: UserPath, session: SessionDep, request: Request) -> None:
    """Delete a user with their tokens and roles; what they made stays; 204 also when absent."""
    await _delete(user, session, request, kind="user")


@router.get("/service-accounts")
@needs("users.read")
async def list_service_accounts(session: SessionDep, page: PageDep) -> Page[UserRead]:
    """Accounts of programs by name."""
    rows, following = await users.list_page(session, page, kind="service_account")
    return Page(items=[UserRead.model_validate(row) for row in rows], next_page_token=following)


@router.post("/service-accounts", status_code=201, dependencies=[REPEATABLE])
@needs("users.write")
async def create_service_account(
    body: ServiceAccountCreate, session: SessionDep, request: Request, response: Response
) -> UserRead:
    """Make an account for a program; `POST /v1/tokens` with its name makes tokens for it."""
    row = await users.create(session, kind="service_account", fields=body.model_dump())
    response.headers["Location"] = absolute_url(request, f"/v1/service-accounts/{row.name}")
    return _answer(row, response)


@router.get("/service-accounts/{user}")
@needs("users.read")
async def get_service_account(user: UserPath, session: SessionDep, response: Response) -> UserRead:
    """One service account."""
    return _answer(await users.get(session, user, kind="service_account"), response)


@router.delete("/service-accounts/{user}", status_code=204)
@needs("users.write")
async def delete_service_account(user: UserPath, session: SessionDep, request: Request) -> None:
    """Delete a service account with its tokens and roles; 204 also when there is none."""
    await _delete(user, session, request, kind="service_account")


async def _delete(name: str, session: SessionDep, request: Request, *, kind: users.Kind) -> None:
    row = await users.find(session, name)
    if row is None or row.kind != kind:
        return
    row = await locked(session, row)
    check_preconditions(request, resource_etag(row.id, row.updated_at))
    await users.delete(session, row)


def _answer(row: User, response: Response) -> UserRead:
    response.headers["ETag"] = resource_etag(row.id, row.updated_at)
    return UserRead.model_validate(row)
