"""Routes of blobs."""

from typing import Annotated

from fastapi import APIRouter, Path, Request, Response

from app.auth.access import UserOrRunAccess
from app.auth.needs import needs
from app.blobs import service
from app.blobs.schemas import SHA256_PATTERN, BlobQuery, BlobRead, BlobsMissingRead
from app.kernel.db import DatabaseDep
from app.kernel.media import BYTES_BODY, TAKES_BYTES, BytesResponse
from app.storage.access import ObjectsDep
from app.storage.serve import object_response
from app.workspaces.detached import DetachedWorkspaceDep

router = APIRouter(prefix="/v1/workspaces/{workspace}/blobs", tags=["blobs"])
DigestPath = Annotated[str, Path(pattern=SHA256_PATTERN)]


@router.post("/missing")
@needs("files.read", run=True, audited=False)
async def find_missing_blobs(
    workspace: DetachedWorkspaceDep,
    body: BlobQuery,
    database: DatabaseDep,
    objects: ObjectsDep,
    _: UserOrRunAccess,
) -> BlobsMissingRead:
    """Say which of these digests have to be sent."""
    missing = await service.find_missing(
        database, objects, workspace_id=workspace.id, digests=body.sha256
    )
    return BlobsMissingRead(missing=missing)


@router.put("/{sha256}", status_code=201, openapi_extra=BYTES_BODY, dependencies=[TAKES_BYTES])
@needs("files.write", run=True, audited=False)
async def put_blob(
    workspace: DetachedWorkspaceDep,
    sha256: DigestPath,
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    _: UserOrRunAccess,
) -> BlobRead:
    """Store the body under its digest; 422 when the body has another digest."""
    stored = await service.put_blob(
        database,
        objects,
        workspace_id=workspace.id,
        sha256=sha256,
        stream=request.stream(),
        max_bytes=request.app.state.settings.max_upload_bytes,
    )
    return BlobRead(sha256=stored.sha256, size_bytes=stored.size_bytes)


@router.head("/{sha256}", include_in_schema=False)
@router.get("/{sha256}", response_class=BytesResponse)
@needs("files.read", run=True)
async def get_blob(
    workspace: DetachedWorkspaceDep,
    sha256: DigestPath,
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    _: UserOrRunAccess,
) -> Response:
    """Download a blob of this workspace."""
    size_bytes = await service.blob_size(database, workspace_id=workspace.id, sha256=sha256)
    return await object_response(
        request, objects, sha256=sha256, size_bytes=size_bytes, filename=sha256
    )
