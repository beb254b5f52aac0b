"""Routes of secrets: a value goes in, and no route gives it out."""

from fastapi import APIRouter, Request, Response

from app.auth.access import UserAccess
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.kernel.db import SessionDep
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.keyring import KeyringDep
from app.kernel.names import NamePath
from app.kernel.pagination import Page, PageDep, page_of
from app.kernel.row_locks import still_there
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.secrets import repository, service
from app.secrets.schemas import SecretPut, SecretRead, SecretVersionRead
from app.tables.secret import Secret
from app.workspaces.access import WorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/secrets", tags=["secrets"], route_class=WriteRoute
)


@router.put("/{secret}", responses={201: {"model": SecretRead}}, dependencies=[VALIDATES])
@needs("secrets.write")
async def put_secret(
    workspace: WorkspaceDep,
    secret: NamePath,
    body: SecretPut,
    session: SessionDep,
    keyring: KeyringDep,
    request: Request,
    response: Response,
    principal: UserAccess,
) -> SecretRead:
    """Write a value: a new secret (201), or a new version of one (200).

    No operation gives a value out; runs get it as a file.
    """
    content = body.content()
    row = await service.put(
        session,
        keyring,
        workspace_id=workspace.id,
        name=secret,
        value=content,
        actor=principal.name,
        description=body.description,
        accepts=lambda found: check_preconditions(request, None if found is None else _etag(found)),
    )
    if row.version == 1:
        response.status_code = 201
        response.headers["Location"] = absolute_url(request, request.url.path)
    response.headers["ETag"] = _etag(row)
    return SecretRead.model_validate(row)


@router.get("")
@needs("secrets.read")
async def list_secrets(
    workspace: WorkspaceDep, session: SessionDep, page: PageDep, _: UserAccess
) -> Page[SecretRead]:
    """Secrets by name, without their values."""
    rows, following = await repository.list_page(session, workspace.id, page)
    return Page(items=[SecretRead.model_validate(row) for row in rows], next_page_token=following)


@router.get("/{secret}")
@needs("secrets.read")
async def get_secret(
    workspace: WorkspaceDep,
    secret: NamePath,
    session: SessionDep,
    response: Response,
    _: UserAccess,
) -> SecretRead:
    """One secret, without its value."""
    row = await repository.get(session, workspace.id, service.USERS, secret)
    response.headers["ETag"] = _etag(row)
    return SecretRead.model_validate(row)


@router.get("/{secret}/versions")
@needs("secrets.read")
async def list_secret_versions(
    workspace: WorkspaceDep, secret: NamePath, session: SessionDep, page: PageDep, _: UserAccess
) -> Page[SecretVersionRead]:
    """The versions that are kept, newest first, without their values."""
    row = await repository.get(session, workspace.id, service.USERS, secret)
    kept = await repository.versions(session, row.id)
    return page_of(
        [SecretVersionRead.model_validate(each) for each in kept],
        page,
        key_of=lambda each: [each.version],
        listing=row.id,
        descending=True,
    )


@router.delete("/{secret}", status_code=204)
@needs("secrets.write")
async def delete_secret(
    workspace: WorkspaceDep, secret: NamePath, session: SessionDep, request: Request, _: UserAccess
) -> None:
    """Delete a secret with all its versions; 204 also when there is none.

    Runs that need it and have not started fail when they start.
    """
    row = await repository.find(session, workspace.id, service.USERS, secret)
    row = row and await still_there(session, row)
    if row is None:
        return
    check_preconditions(request, _etag(row))
    await session.delete(row)


def _etag(row: Secret) -> str:
    return resource_etag(f"{row.id}/{row.version}", row.updated_at)
