"""Routes of source snapshots."""

from fastapi import APIRouter, Depends, Request, Response

from app.auth.access import UserAccess, UserOrRunAccess
from app.auth.idempotency import REPEATABLE_DETACHED
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.errors import UnsupportedMedia
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.media import BYTES_BODY, TAKES_BYTES, is_json
from app.kernel.pagination import Page, PageDep, page_of
from app.kernel.urls import absolute_url
from app.snapshots import repository, service
from app.snapshots.schemas import SnapshotCreate, SnapshotFile, SnapshotRead
from app.storage.access import ObjectsDep
from app.tables.snapshot import Snapshot
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/snapshots", tags=["snapshots"], route_class=WriteRoute
)


async def _refuse_archives(request: Request) -> None:
    if not is_json(request):
        raise UnsupportedMedia(
            "Send the list of files as JSON with Content-Type: application/json; an archive is "
            "taken by PUT, at the same address: curl -T source.tar.gz."
        )


@router.put("", status_code=201, openapi_extra=BYTES_BODY, dependencies=[TAKES_BYTES])
@needs("files.write")
async def upload_snapshot(
    workspace: DetachedWorkspaceDep,
    request: Request,
    response: Response,
    database: DatabaseDep,
    objects: ObjectsDep,
    _: UserAccess,
) -> SnapshotRead:
    """Make a snapshot of a tar, tar.gz or zip archive: `curl -T source.tar.gz`.

    A `.amlignore` or else a `.gitignore` at the top says what to leave out; `.git` always is.
    """
    row = await service.create_from_archive(
        database, objects, workspace_id=workspace.id, stream=request.stream()
    )
    return _created(row, request, response)


@router.post("", status_code=201, dependencies=[REPEATABLE_DETACHED, Depends(_refuse_archives)])
@needs("files.write")
async def create_snapshot(
    workspace: DetachedWorkspaceDep,
    body: SnapshotCreate,
    request: Request,
    response: Response,
    database: DatabaseDep,
    objects: ObjectsDep,
    _: UserAccess,
) -> SnapshotRead:
    """Make a snapshot of files whose bytes were sent as blobs; 422 names those missing."""
    row = await service.create_from_blobs(
        database, objects, workspace_id=workspace.id, files=body.files
    )
    return _created(row, request, response)


@router.get("/{snapshot_id}")
@needs("files.read", run=True)
async def get_snapshot(
    workspace: WorkspaceDep,
    snapshot_id: str,
    session: SessionDep,
    response: Response,
    _: UserOrRunAccess,
) -> SnapshotRead:
    """One snapshot."""
    row = await repository.get(session, workspace.id, snapshot_id)
    response.headers["ETag"] = resource_etag(row.id, row.created_at)
    return SnapshotRead.model_validate(row)


@router.get("/{snapshot_id}/files")
@needs("files.read", run=True)
async def list_snapshot_files(
    workspace: WorkspaceDep,
    snapshot_id: str,
    session: SessionDep,
    page: PageDep,
    _: UserOrRunAccess,
) -> Page[SnapshotFile]:
    """Files of a snapshot, by path."""
    row = await repository.get(session, workspace.id, snapshot_id)
    found = page_of(row.files, page, key_of=lambda file: [file["path"]], listing=row.id)
    return Page(
        items=[SnapshotFile.model_validate(file) for file in found.items],
        next_page_token=found.next_page_token,
    )


@router.delete("/{snapshot_id}", status_code=204)
@needs("files.write")
async def delete_snapshot(
    workspace: WorkspaceDep,
    snapshot_id: str,
    session: SessionDep,
    request: Request,
    _: UserAccess,
) -> None:
    """Delete a snapshot that no run uses; 409 when one does."""
    row = await repository.get(session, workspace.id, snapshot_id)
    check_preconditions(request, resource_etag(row.id, row.created_at))
    await repository.delete(session, row)


def _created(row: Snapshot, request: Request, response: Response) -> SnapshotRead:
    path = request.url.path.rstrip("/")
    response.headers["Location"] = absolute_url(request, f"{path}/{row.id}")
    return SnapshotRead.model_validate(row)
