"""Routes of datastores."""

from typing import Annotated

import anyio
import anyio.to_thread
from fastapi import APIRouter, Query, Request, Response

from app.auth.access import UserAccess
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.datastores import repository, service
from app.datastores.errors import DatastoreFileNotFound, DatastoreRefused
from app.datastores.schemas import (
    DatastoreFile,
    DatastoreFileList,
    DatastorePut,
    DatastoreRead,
)
from app.datastores.serve import file_response
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.keyring import KeyringDep
from app.kernel.media import BYTES_BODY, TAKES_BYTES, BytesResponse
from app.kernel.names import NamePath
from app.kernel.odd_rows import one
from app.kernel.pagination import Page, PageDep
from app.kernel.row_locks import still_there
from app.kernel.urls import absolute_url
from app.kernel.validate_only import VALIDATES
from app.storage.access import ObjectsDep
from app.storage.paths import check_path
from app.tables.datastore import Datastore
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/datastores", tags=["datastores"], route_class=WriteRoute
)


@router.get("")
@needs("datastores.read")
async def list_datastores(
    workspace: WorkspaceDep, session: SessionDep, page: PageDep, _: UserAccess
) -> Page[DatastoreRead]:
    """Datastores by name, without credentials."""
    rows, following = await repository.list_page(session, workspace.id, page)
    return Page.of(rows, DatastoreRead.model_validate, following)


@router.put("/{datastore}", responses={201: {"model": DatastoreRead}}, dependencies=[VALIDATES])
@needs("datastores.write")
async def put_datastore(
    workspace: WorkspaceDep,
    datastore: NamePath,
    body: DatastorePut,
    session: SessionDep,
    settings: SettingsDep,
    keyring: KeyringDep,
    request: Request,
    response: Response,
    principal: UserAccess,
) -> DatastoreRead:
    """Make a datastore (201), or change it; credentials are encrypted, and never shown."""
    found = await repository.find(session, workspace.id, datastore)
    found = found and await still_there(session, found)
    check_preconditions(request, _etag(found) if found else None)
    row, is_new = await service.put(
        session,
        settings,
        keyring,
        workspace_id=workspace.id,
        name=datastore,
        body=body,
        actor=principal.name,
    )
    if is_new:
        response.status_code = 201
        response.headers["Location"] = absolute_url(request, request.url.path)
    return _answer(row, response)


@router.get("/{datastore}")
@needs("datastores.read")
async def get_datastore(
    workspace: WorkspaceDep,
    datastore: NamePath,
    session: SessionDep,
    response: Response,
    _: UserAccess,
) -> DatastoreRead:
    """One datastore."""
    return _answer(await repository.get(session, workspace.id, datastore), response)


@router.delete("/{datastore}", status_code=204)
@needs("datastores.write")
async def delete_datastore(
    workspace: WorkspaceDep,
    datastore: NamePath,
    session: SessionDep,
    request: Request,
    _: UserAccess,
) -> None:
    """Forget a datastore and its credentials; its files stay; 204 also when it is absent."""
    row = await repository.find(session, workspace.id, datastore)
    row = row and await still_there(session, row)
    if row is not None:
        check_preconditions(request, _etag(row))
        await service.delete(session, row)


@router.get("/{datastore}/files")
@needs("datastores.read")
async def list_datastore_files(
    workspace: DetachedWorkspaceDep,
    datastore: NamePath,
    database: DatabaseDep,
    settings: SettingsDep,
    keyring: KeyringDep,
    _: UserAccess,
    prefix: Annotated[str, Query(max_length=1000, description="Only paths that begin so")] = "",
    limit: Annotated[int, Query(ge=1, le=service.MOST_LISTED)] = 1000,
) -> DatastoreFileList:
    """Files in a datastore; also a way to see whether its credentials are good."""
    if prefix:
        check_path(prefix.rstrip("/") or "x")
    async with database.session() as session:
        row = await repository.get(session, workspace.id, datastore)
        store = await service.opened(session, settings, keyring, row)
    with service.refusals():
        found, is_complete = await anyio.to_thread.run_sync(
            lambda: service.listed(store, prefix, most=limit)
        )
    files = [DatastoreFile(path=path, size_bytes=size_bytes) for path, size_bytes in found]
    return DatastoreFileList(items=files, is_complete=is_complete)


@router.get("/{datastore}/files/{path:path}", response_class=BytesResponse)
@router.head("/{datastore}/files/{path:path}", include_in_schema=False)
@needs("datastores.read")
async def download_datastore_file(
    workspace: DetachedWorkspaceDep,
    datastore: NamePath,
    path: str,
    request: Request,
    database: DatabaseDep,
    settings: SettingsDep,
    keyring: KeyringDep,
    _: UserAccess,
) -> Response:
    """The bytes of a file as it is there now; a dataset keeps them. Ranges and conditions work."""
    check_path(path)
    async with database.session() as session:
        row = await repository.get(session, workspace.id, datastore)
        store = await service.opened(session, settings, keyring, row)
    if store.address(path):
        raise DatastoreRefused("Files of a web server are fetched from there.")
    try:
        found = await anyio.to_thread.run_sync(store.open, path)
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
        raise DatastoreFileNotFound(f"There is no file {path!r}.") from error
    except PermissionError as error:
        raise DatastoreRefused("The credentials are not good for reading.") from error
    return file_response(request, found, filename=path.rpartition("/")[2])


@router.put(
    "/{datastore}/files/{path:path}",
    status_code=204,
    openapi_extra=BYTES_BODY,
    dependencies=[TAKES_BYTES],
)
@needs("datastores.write")
async def upload_datastore_file(
    workspace: DetachedWorkspaceDep,
    datastore: NamePath,
    path: str,
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    settings: SettingsDep,
    keyring: KeyringDep,
    _: UserAccess,
) -> None:
    """Write a file into a datastore; what was there under this name is replaced."""
    check_path(path)
    async with database.session() as session:
        row = await repository.get(session, workspace.id, datastore)
        store = await service.opened(session, settings, keyring, row)
    async with objects.spool(request.stream(), max_bytes=None) as file:
        with service.refusals():
            await anyio.to_thread.run_sync(store.put, path, file)


def _answer(row: Datastore, response: Response) -> DatastoreRead:
    response.headers["ETag"] = _etag(row)
    with one(row):
        return DatastoreRead.model_validate(row)


def _etag(row: Datastore) -> str:
    return resource_etag(row.id, row.updated_at)
