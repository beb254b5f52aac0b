"""Routes of environments."""

from fastapi import APIRouter, Request, Response

from app.auth.access import UserAccess, UserOrRunAccess
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.environments import repository
from app.environments.errors import EnvironmentNameReserved
from app.environments.schemas import EnvironmentPut, EnvironmentRead
from app.kernel.db import SessionDep
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.names import NamePath
from app.kernel.odd_rows import one
from app.kernel.pagination import Page, PageDep
from app.kernel.row_locks import locked, still_there
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.workspaces.access import WorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/environments", tags=["environments"], route_class=WriteRoute
)
_RESERVED_PREFIXES = ("azureml", "microsoft")


@router.put("/{environment}", responses={201: {"model": EnvironmentRead}}, dependencies=[VALIDATES])
@needs("environments.write")
async def put_environment(
    workspace: WorkspaceDep,
    environment: NamePath,
    body: EnvironmentPut,
    session: SessionDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> EnvironmentRead:
    """Create an environment (201) or replace it (200); images are built when runs need them."""
    if environment.lower().startswith(_RESERVED_PREFIXES):
        raise EnvironmentNameReserved(
            "Names that start with AzureML or Microsoft are reserved; take another one."
        )
    spec = body.model_dump(mode="json", exclude={"description"})
    row, created = await repository.get_or_create_environment(
        session, workspace.id, environment, spec
    )
    row = await locked(session, row)
    check_preconditions(request, None if created else resource_etag(row.id, row.updated_at))
    if created:
        response.status_code = 201
        response.headers["Location"] = absolute_url(request, request.url.path)
    row.spec = spec
    row.description = body.description
    await session.flush()
    await session.refresh(row)
    response.headers["ETag"] = resource_etag(row.id, row.updated_at)
    with one(row):
        return EnvironmentRead.model_validate(row)


@router.get("")
@needs("environments.read")
async def list_environments(
    workspace: WorkspaceDep, session: SessionDep, page: PageDep, _: UserAccess
) -> Page[EnvironmentRead]:
    """Environments by name."""
    rows, following = await repository.list_environments(session, workspace.id, page)
    return Page.of(rows, EnvironmentRead.model_validate, following)


@router.get("/{environment}")
@needs("environments.read", run=True)
async def get_environment(
    workspace: WorkspaceDep,
    environment: NamePath,
    session: SessionDep,
    response: Response,
    _: UserOrRunAccess,
) -> EnvironmentRead:
    """One environment."""
    row = await repository.get_environment(session, workspace.id, environment)
    response.headers["ETag"] = resource_etag(row.id, row.updated_at)
    with one(row):
        return EnvironmentRead.model_validate(row)


@router.delete("/{environment}", status_code=204)
@needs("environments.write")
async def delete_environment(
    workspace: WorkspaceDep,
    environment: NamePath,
    session: SessionDep,
    request: Request,
    _: UserAccess,
) -> None:
    """Delete an environment, not its images; 204 also when there is none."""
    row = await repository.find_environment(session, workspace.id, environment)
    row = row and await still_there(session, row)
    if row is None:
        return
    check_preconditions(request, resource_etag(row.id, row.updated_at))
    await session.delete(row)
