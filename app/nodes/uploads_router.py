"""Routes for runners: large files, which go on where they broke off."""

from typing import Annotated

from fastapi import APIRouter, Header, Path, Request

from app.auth.access import NodeAccess
from app.auth.needs import needs
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.orm import MAX_INTEGER
from app.nodes.schemas import NodeUpload, NodeUploadCreate
from app.nodes.work import WorkDep
from app.storage.access import ObjectsDep
from app.tables.upload import Upload
from app.uploads import repository, service
from app.uploads.limits import Limits
from app.uploads.schemas import UploadCreate

router = APIRouter(prefix="/v1/node/uploads", tags=["node"], include_in_schema=False)
UploadId = Annotated[str, Path(pattern=r"^[A-Za-z0-9_-]{1,100}$")]


@router.post("")
@needs("node")
async def begin_node_upload(
    work: WorkDep,
    principal: NodeAccess,
    body: NodeUploadCreate,
    session: SessionDep,
    objects: ObjectsDep,
    settings: SettingsDep,
) -> NodeUpload:
    """Begin the upload of a file, or say how far the node's own is that was begun before."""
    row = await repository.unfinished_one(
        session,
        workspace_id=work.workspace_id,
        caller=principal.id,
        sha256=body.sha256,
        size_bytes=body.size_bytes,
    )
    if row is None:
        row = await service.create(
            session,
            objects,
            workspace_id=work.workspace_id,
            body=UploadCreate(size_bytes=body.size_bytes, sha256=body.sha256),
            created_by=principal.id,
            caller=principal.id,
            limits=Limits.of(settings),
        )
    return _read(row)


@router.patch("/{upload_id}")
@needs("node")
async def send_node_upload_piece(
    work: WorkDep,
    upload_id: UploadId,
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    upload_offset: Annotated[int, Header(ge=0, le=MAX_INTEGER)],
) -> NodeUpload:
    """Append the bytes from the offset on; of what breaks off, what came stays."""
    async with database.session() as session:
        row = await repository.get(session, work.workspace_id, upload_id)
    piece = service.Piece(offset_bytes=upload_offset, stream=request.stream(), digest=None)
    return _read(await service.Receiver(database, objects, row).receive(piece))


def _read(row: Upload) -> NodeUpload:
    return NodeUpload(
        id=row.id, offset_bytes=row.offset_bytes, is_complete=row.completed_at is not None
    )
