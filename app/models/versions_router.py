"""Routes of versions of models: register, list, show, change, delete."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.access import UserAccess, UserOrRunAccess
from app.auth.idempotency import REPEATABLE, REPEATABLE_DETACHED
from app.auth.needs import Need, check, needs
from app.auth.principal import Principal
from app.auth.writes import WriteRoute
from app.blobs import repository as blobs
from app.datasets.fetch import policy_from
from app.datasets.stored import is_stored, with_datastores
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.errors import Forbidden, invalid_field
from app.kernel.etags import check_preconditions
from app.kernel.media import BYTES_BODY, TAKES_BYTES
from app.kernel.names import NamePath
from app.kernel.odd_rows import one
from app.kernel.pagination import Page, PageDep
from app.kernel.row_locks import locked
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.models import repository, service
from app.models.access import VersionDep, VersionPath, version_etag
from app.models.kind import find_kind, framework_of
from app.models.schemas import (
    Lineage,
    ModelDescription,
    ModelFile,
    ModelImport,
    ModelVersionCreate,
    ModelVersionRead,
    ModelVersionUpdate,
)
from app.models.upload import store_archive, store_fetched, store_file
from app.storage.access import ObjectsDep
from app.storage.writer import StoredObject
from app.tables.model import ModelVersion
from app.tables.workspace import Workspace
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/models", tags=["models"], route_class=WriteRoute
)


@router.post("/{model}/versions", status_code=201, dependencies=[REPEATABLE])
@needs("models.write", run=True)
async def create_model_version(
    workspace: DetachedWorkspaceDep,
    model: NamePath,
    body: ModelVersionCreate,
    database: DatabaseDep,
    session: SessionDep,
    objects: ObjectsDep,
    request: Request,
    response: Response,
    principal: UserOrRunAccess,
) -> ModelVersionRead:
    """Register files of a run, or blobs that were sent, as the next version."""
    if body.files is not None:
        await service.check_files(database, objects, workspace=workspace, files=body.files)
        files, lineage = body.files, Lineage()
    else:
        files, lineage = await service.files_of_run(
            session, workspace=workspace, run_id=_run_id(body, principal), path=body.path or ""
        )
    if body.parent is not None:
        lineage.parent = await service.find_parent(session, workspace, body.parent)
    name, row = await service.add_version(
        session,
        workspace=workspace,
        name=model,
        about=body,
        files=files,
        lineage=lineage,
        actor=principal.name,
    )
    return await _created(session, name, row, request, response)


@router.put(
    "/{model}/archive", status_code=201, openapi_extra=BYTES_BODY, dependencies=[TAKES_BYTES]
)
@needs("models.write")
async def upload_model_archive(
    workspace: DetachedWorkspaceDep,
    model: NamePath,
    request: Request,
    response: Response,
    database: DatabaseDep,
    objects: ObjectsDep,
    settings: SettingsDep,
    principal: UserAccess,
    framework_version: Annotated[str, Query(max_length=50, pattern=r"^[A-Za-z0-9.+_-]*$")] = "",
    description: Annotated[str, Query(max_length=5000)] = "",
    filename: Annotated[
        str,
        Query(
            pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,127}\.(keras|h5|hdf5|onnx))?$",
            description="The body is a model that is one file; absent: an archive",
        ),
    ] = "",
) -> ModelVersionRead:
    """Register an archive (tar, tar.gz, zip) or one file as the next version: `curl -T m.zip`."""
    most = settings.max_upload_bytes
    if filename:
        files = await store_file(objects, request.stream(), name=filename, max_bytes=most)
    else:
        files = await store_archive(objects, request.stream(), max_bytes=most)
    about = ModelDescription(framework_version=framework_version, description=description)
    if filename:
        about.framework = framework_of(find_kind([filename]).kind)
    async with database.session() as session:
        name, row = await _add_stored(session, workspace, model, about, files, principal)
        return await _created(session, name, row, request, response)


@router.post("/{model}/import", status_code=201, dependencies=[REPEATABLE_DETACHED])
@needs("models.write")
async def import_model(
    workspace: DetachedWorkspaceDep,
    model: NamePath,
    body: ModelImport,
    request: Request,
    response: Response,
    database: DatabaseDep,
    objects: ObjectsDep,
    settings: SettingsDep,
    principal: UserAccess,
) -> ModelVersionRead:
    """Fetch an archive, or one file, and register it as the next version.

    What the addresses of datasets may be holds here, too; a file in a datastore,
    `datastore://NAME/PATH`, takes `datastores.read`.
    """
    if is_stored(body.url):
        check(Need("datastores.read"), principal, request.path_params)
    policy = policy_from(settings)
    policy = replace(policy, max_bytes=min(policy.max_bytes, settings.max_upload_bytes))
    async with database.session() as session:
        policy = await with_datastores(session, workspace.id, [body.url], policy)
    files = await store_fetched(objects, body.url, policy=policy, expected_sha256=body.sha256)
    async with database.session() as session:
        name, row = await _add_stored(session, workspace, model, body, files, principal)
        return await _created(session, name, row, request, response)


@router.get("/{model}/versions")
@needs("models.read", run=True)
async def list_model_versions(
    workspace: WorkspaceDep,
    model: NamePath,
    session: SessionDep,
    page: PageDep,
    _: UserOrRunAccess,
    run_id: Annotated[str | None, Query(max_length=256, description="Only of this run")] = None,
) -> Page[ModelVersionRead]:
    """Versions of a model, the newest first."""
    row = await repository.get(session, workspace.id, model)
    rows, following = await repository.list_versions(session, row.id, page, run_id=run_id)
    return Page.of(
        rows,
        await service.reader(session, row.name, rows),
        following,
        name_of=lambda version: str(version.version),
    )


@router.get("/{model}/versions/{version}")
@needs("models.read", run=True)
async def get_model_version(
    model: NamePath, row: VersionDep, session: SessionDep, response: Response
) -> ModelVersionRead:
    """One version, by number, latest or alias: where it is from, what it takes and gives."""
    with one(row):
        response.headers["ETag"] = version_etag(row)
        return await service.read(session, model, row)


@router.patch("/{model}/versions/{version}", dependencies=[VALIDATES])
@needs("models.write")
async def update_model_version(
    model: NamePath,
    row: VersionDep,
    body: ModelVersionUpdate,
    session: SessionDep,
    request: Request,
    response: Response,
    _: UserAccess,
) -> ModelVersionRead:
    """Change description and tags (null removes one), add properties."""
    row = await locked(session, row)
    check_preconditions(request, version_etag(row))
    with one(row):
        row = await service.update(session, row, body)
        response.headers["ETag"] = version_etag(row)
        return await service.read(session, model, row)


@router.delete("/{model}/versions/{version}", status_code=204)
@needs("models.write")
async def delete_model_version(
    workspace: WorkspaceDep,
    model: NamePath,
    version: VersionPath,
    session: SessionDep,
    request: Request,
    _: UserAccess,
) -> None:
    """Delete a version; 409 while a deployment serves it; its number is not given again."""
    owner, row = await repository.get_version(session, workspace.id, model, version)
    row = await locked(session, row)
    check_preconditions(request, version_etag(row))
    await service.delete_version(session, owner, row)


async def _add_stored(
    session: AsyncSession,
    workspace: Workspace,
    model: str,
    about: ModelDescription,
    files: list[ModelFile],
    principal: Principal,
) -> tuple[str, ModelVersion]:
    """A version of files that were just stored: they are the workspace's from now on."""
    stored = [StoredObject(sha256=file.sha256, size_bytes=file.size_bytes) for file in files]
    await blobs.add(session, workspace.id, stored)
    return await service.add_version(
        session,
        workspace=workspace,
        name=model,
        about=about,
        files=files,
        lineage=Lineage(),
        actor=principal.name,
    )


def _run_id(body: ModelVersionCreate, principal: Principal) -> str:
    if principal.kind != "run":
        if body.run_id is None:
            message = "Name the run whose files these are, as run_id."
            raise invalid_field("/run_id", "missing", message)
        return body.run_id
    if body.run_id not in (None, principal.id):
        raise Forbidden("A run's token is good for its own run only.")
    return principal.id


async def _created(
    session: AsyncSession, name: str, row: ModelVersion, request: Request, response: Response
) -> ModelVersionRead:
    models, _, _ = request.url.path.partition("/models/")
    path = f"{models}/models/{name}/versions/{row.version}"
    response.headers["Location"] = absolute_url(request, path)
    response.headers["ETag"] = version_etag(row)
    return await service.read(session, name, row)
