"""Routes of the aliases of a model."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.auth.access import UserAccess, UserOrRunAccess
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.kernel.db import SessionDep
from app.kernel.errors import invalid_field
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.names import NamePath
from app.kernel.pagination import Page, PageDep
from app.kernel.validate_only import VALIDATES
from app.models import aliases, repository
from app.models.errors import ModelVersionNotFound
from app.models.schemas import AliasPut, AliasRead
from app.tables.model import Model, ModelVersion
from app.workspaces.access import WorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/models/{model}/aliases",
    tags=["models"],
    route_class=WriteRoute,
)
AliasPath = Annotated[
    str,
    Path(
        pattern=aliases.ALIAS_PATTERN,
        description="Letters, digits, _ and -, no digit first; such as champion",
    ),
]


@router.get("")
@needs("models.read", run=True)
async def list_model_aliases(
    workspace: WorkspaceDep,
    model: NamePath,
    session: SessionDep,
    page: PageDep,
    _: UserOrRunAccess,
) -> Page[AliasRead]:
    """Aliases by name, with the versions that they point to."""
    row = await repository.get(session, workspace.id, model)
    found, following = await aliases.list_page(session, row.id, page)
    items = [AliasRead(alias=alias, version=version) for alias, version in found]
    return Page(items=items, next_page_token=following)


@router.get("/{alias}")
@needs("models.read", run=True)
async def get_model_alias(
    workspace: WorkspaceDep,
    model: NamePath,
    alias: AliasPath,
    session: SessionDep,
    response: Response,
    _: UserOrRunAccess,
) -> AliasRead:
    """Where an alias points."""
    row = await repository.get(session, workspace.id, model)
    version = await aliases.get(session, row, alias)
    response.headers["ETag"] = _etag(row, version)
    return AliasRead(alias=alias, version=version.version)


@router.put(
    "/{alias}",
    dependencies=[VALIDATES],
    responses={201: {"model": AliasRead, "description": "The alias is new"}},
)
@needs("models.write")
async def put_model_alias(
    workspace: WorkspaceDep,
    model: NamePath,
    alias: AliasPath,
    body: AliasPut,
    session: SessionDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> AliasRead:
    """Let an alias point to a version; from then on it points to no other.

    With `If-Match` it is moved only from where you saw it, with `If-None-Match: *` only made.
    """
    found = await repository.get(session, workspace.id, model)
    row = await aliases.lock(session, found.id)
    before = await aliases.find(session, row.id, alias)
    check_preconditions(request, None if before is None else _etag(row, before))
    try:
        version = (await repository.get_version(session, workspace.id, model, body.version))[1]
    except ModelVersionNotFound as error:
        raise invalid_field("/version", "unknown_model_version", error.detail) from error
    await aliases.point(session, row.id, alias, version.id)
    response.status_code = 201 if before is None else 200
    response.headers["ETag"] = _etag(row, version)
    return AliasRead(alias=alias, version=version.version)


@router.delete("/{alias}", status_code=204)
@needs("models.write")
async def delete_model_alias(
    workspace: WorkspaceDep,
    model: NamePath,
    alias: AliasPath,
    session: SessionDep,
    request: Request,
    _: UserAccess,
) -> None:
    """Remove an alias; the version stays; 204 also when there is none."""
    found = await repository.find(session, workspace.id, model)
    if found is None:
        return
    row = await aliases.lock(session, found.id)
    before = await aliases.find(session, row.id, alias)
    check_preconditions(request, None if before is None else _etag(row, before))
    await aliases.remove(session, row.id, alias)


def _etag(model: Model, version: ModelVersion) -> str:
    return resource_etag(f"{model.id}/{version.id}", model.created_at)
