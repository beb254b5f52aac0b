"""Routes of uploads in pieces."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from app.auth.access import UserOrRunAccess
from app.auth.idempotency import REPEATABLE
from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.etags import check_preconditions, resource_etag
from app.kernel.media import BINARY, TAKES_BYTES
from app.kernel.orm import MAX_INTEGER
from app.kernel.urls import absolute_url
from app.storage.access import ObjectsDep
from app.tables.upload import Upload
from app.uploads import receiving, repository, service
from app.uploads.errors import UploadOffsetMissing
from app.uploads.limits import Limits
from app.uploads.schemas import UploadCreate, UploadRead
from app.workspaces.access import WorkspaceDep
from app.workspaces.detached import DetachedWorkspaceDep

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/uploads", tags=["blobs"], route_class=WriteRoute
)
_PIECE = {
    "requestBody": {
        "required": True,
        "content": {"application/octet-stream": BINARY, "application/partial-upload": BINARY},
    }
}


@router.post("", status_code=201, dependencies=[REPEATABLE])
@needs("files.write", run=True, audited=False)
async def create_upload(
    workspace: DetachedWorkspaceDep,
    body: UploadCreate,
    request: Request,
    response: Response,
    database: DatabaseDep,
    session: SessionDep,
    objects: ObjectsDep,
    settings: SettingsDep,
    principal: UserOrRunAccess,
) -> UploadRead:
    """Begin an upload in pieces; PATCH sends them, and a broken one goes on where it broke."""
    row = await service.create(
        database,
        session,
        objects,
        workspace_id=workspace.id,
        body=body,
        created_by=principal.id,
        caller=principal.token_id or principal.id,
        limits=Limits.of(settings),
    )
    response.headers["Location"] = absolute_url(request, f"{request.url.path.rstrip('/')}/{row.id}")
    return _read(row, response)


@router.get("/{upload_id}")
@needs("files.read", run=True)
async def get_upload(
    workspace: WorkspaceDep,
    upload_id: str,
    response: Response,
    session: SessionDep,
    _: UserOrRunAccess,
) -> UploadRead:
    """How far an upload is."""
    return _read(await repository.get(session, workspace.id, upload_id), response)


@router.head("/{upload_id}", status_code=204, name="head_upload")
@needs("files.read", run=True)
async def head_upload(
    workspace: WorkspaceDep, upload_id: str, session: SessionDep, _: UserOrRunAccess
) -> Response:
    """Where the next piece begins: `Upload-Offset`."""
    row = await repository.get(session, workspace.id, upload_id)
    return Response(status_code=204, headers=_headers(row))


@router.patch("/{upload_id}", openapi_extra=_PIECE, dependencies=[TAKES_BYTES])
@needs("files.write", run=True, audited=False)
async def send_upload_piece(
    workspace: DetachedWorkspaceDep,
    upload_id: str,
    request: Request,
    response: Response,
    database: DatabaseDep,
    objects: ObjectsDep,
    _: UserOrRunAccess,
    upload_offset: Annotated[
        int | None, Header(ge=0, le=MAX_INTEGER, description="Where the piece begins")
    ] = None,
    content_digest: Annotated[
        str | None, Header(description="`sha-256=:BASE64:` of the piece, to be checked (RFC 9530)")
    ] = None,
) -> UploadRead:
    """Append a piece; with the last byte the file becomes a blob of the workspace.

    When the connection breaks off, what arrived stays: HEAD says where to go on.
    """
    if upload_offset is None:
        raise UploadOffsetMissing("Send Upload-Offset: HEAD says where the next piece begins.")
    async with database.session() as session:
        row = await repository.get(session, workspace.id, upload_id)
    piece = receiving.Piece(
        offset_bytes=upload_offset,
        stream=request.stream(),
        digest=receiving.piece_digest(content_digest),
    )
    return _read(await receiving.Receiver(database, objects, row).receive(piece), response)


@router.delete("/{upload_id}", status_code=204)
@needs("files.write", run=True)
async def delete_upload(
    workspace: WorkspaceDep,
    upload_id: str,
    session: SessionDep,
    objects: ObjectsDep,
    request: Request,
    _: UserOrRunAccess,
) -> None:
    """Give an upload up; the blob of a complete one stays."""
    row = await repository.get(session, workspace.id, upload_id)
    check_preconditions(request, resource_etag(row.id, row.updated_at))
    await service.give_up(session, objects, row)


def _read(row: Upload, response: Response) -> UploadRead:
    response.headers.update(_headers(row))
    response.headers["ETag"] = resource_etag(row.id, row.updated_at)
    return UploadRead(
        id=row.id,
        size_bytes=row.size_bytes,
        offset_bytes=row.offset_bytes,
        sha256=row.found_sha256 or row.sha256,
        completed_at=row.completed_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _headers(row: Upload) -> dict[str, str]:
    return {
        "Upload-Offset": str(row.offset_bytes),
        "Upload-Length": str(row.size_bytes),
        "Upload-Complete": "?0" if row.completed_at is None else "?1",
        "Cache-Control": "no-store",
    }
