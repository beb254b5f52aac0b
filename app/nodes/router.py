"""Routes for runners: the node protocol."""

from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response

from app.auth.access import NodeAccess
from app.auth.needs import needs
from app.auth.signing import Signer
from app.blobs import repository as blobs
from app.blobs.errors import BlobNotFound
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.errors import TooLarge, invalid_field
from app.kernel.keyring import KeyringDep
from app.kernel.media import BytesResponse
from app.kernel.orm import MAX_INTEGER
from app.logs import service as logs
from app.logs.errors import LogFull
from app.logs.times import parse_header
from app.nodes import heartbeats
from app.nodes.log_place import find_log_place, find_run_log_place, note_full_log
from app.nodes.partial_blobs import PartialBlob
from app.nodes.schemas import (
    Checkpoint,
    Heartbeat,
    HostSamples,
    LogAccepted,
    MissingAnswer,
    MissingQuery,
    NodeCommand,
    NodeEvent,
    Outputs,
    PartialBlobRead,
    RecordBatch,
    RecordsAccepted,
)
from app.nodes.work import WorkDep, find_work, is_of_capture, is_of_run
from app.storage.access import ObjectsDep
from app.storage.paths import MAX_PATH_BYTES
from app.storage.serve import object_response

router = APIRouter(prefix="/v1/node", tags=["node"], include_in_schema=False)

Digest = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]


@router.get("/order")
@needs("node")
async def get_node_order(
    work: WorkDep, session: SessionDep, settings: SettingsDep, request: Request
) -> dict[str, Any]:
    """The work order."""
    signer: Signer = request.app.state.signer
    return await work.order(session, settings, signer)


@router.get("/secrets")
@needs("node")
async def get_node_secrets(
    work: WorkDep, session: SessionDep, keyring: KeyringDep
) -> dict[str, list[dict[str, str]]]:
    """The values of the secrets that the order names."""
    return {"secrets": await work.secrets(session, keyring)}


@router.post("/heartbeat")
@needs("node")
async def send_node_heartbeat(
    principal: NodeAccess, body: Heartbeat, database: DatabaseDep, request: Request
) -> NodeCommand:
    """The node is alive; the answer may wait until it has something to do."""
    return await heartbeats.take(database, request.app.state.signals, principal, body)


@router.post("/events")
@needs("node")
async def send_node_event(work: WorkDep, body: NodeEvent, session: SessionDep) -> NodeCommand:
    """Something happened on the node."""
    return await work.on_event(session, body)


@router.post("/records")
@needs("node")
async def send_node_records(
    work: WorkDep, body: RecordBatch, session: SessionDep
) -> RecordsAccepted:
    """Metrics, tags and properties that the script logged."""
    return RecordsAccepted(next_seq=await work.on_records(session, body))


@router.post("/host-metrics")
@needs("node")
async def send_node_host_metrics(
    work: WorkDep, body: HostSamples, session: SessionDep
) -> NodeCommand:
    """What the node has used since it last told."""
    await work.on_host_metrics(session, body)
    return NodeCommand(command="continue")


@router.post("/outputs")
@needs("node")
async def send_node_outputs(work: WorkDep, body: Outputs, session: SessionDep) -> NodeCommand:
    """The manifest of what the node collected."""
    await work.on_outputs(session, body)
    return NodeCommand(command="continue")


@router.post("/checkpoint")
@needs("node")
async def send_node_checkpoint(work: WorkDep, body: Checkpoint, session: SessionDep) -> NodeCommand:
    """Files that the scripts saved while they run."""
    await work.on_checkpoint(session, body)
    return NodeCommand(command="continue")


@router.post("/logs")
@needs("node")
async def send_node_logs(
    principal: NodeAccess,
    request: Request,
    database: DatabaseDep,
    settings: SettingsDep,
    stream: Annotated[str, Query(min_length=1, max_length=1000)],
    offset: Annotated[int, Query(ge=0, le=MAX_INTEGER)],
    log_times: Annotated[str, Header()] = "",
) -> LogAccepted:
    """Bytes of a log stream; those that are here already are ignored."""
    if len(stream.encode()) > MAX_PATH_BYTES:
        message = f"The name of a stream has at most {MAX_PATH_BYTES} bytes."
        raise invalid_field("/stream", "path_too_long", message)
    data = await request.body()
    if offset + len(data) > settings.max_log_stream_bytes:
        raise TooLarge(f"A stream of a log has at most {settings.max_log_stream_bytes} bytes.")
    if is_of_capture(principal):
        async with database.session() as session:
            await find_work(session, principal)
        # Nothing is kept but the last lines, which come with its end.
        return LogAccepted(length_bytes=offset + len(data))
    times = parse_header(log_times)
    if is_of_run(principal):
        place = await find_run_log_place(database.direct, principal)
        if await logs.append_next(
            database,
            place.owner,
            stream,
            data,
            attempt=place.attempt,
            offset=offset,
            times=times,
            most_bytes=settings.max_run_log_bytes,
        ):
            return LogAccepted(length_bytes=offset + len(data))
    try:
        async with database.session() as session:
            place = await find_log_place(session, principal)
            length = await logs.append(
                session,
                place.owner,
                stream,
                data,
                attempt=place.attempt,
                offset=offset,
                node_index=place.node_index,
                times=times,
                most_bytes=settings.max_run_log_bytes if is_of_run(principal) else None,
            )
    except LogFull:
        async with database.session() as session:
            await note_full_log(session, principal)
        raise
    return LogAccepted(length_bytes=length)


@router.get("/blobs/{sha256}", response_class=BytesResponse)
@needs("node")
async def get_node_blob(
    work: WorkDep, sha256: Digest, request: Request, database: DatabaseDep, objects: ObjectsDep
) -> Response:
    """Bytes of the workspace."""
    async with database.session() as session:
        sizes = await blobs.sizes(session, work.workspace_id, [sha256])
    if sha256 not in sizes:
        raise BlobNotFound(f"There is no blob {sha256}.")
    return await object_response(
        request, objects, sha256=sha256, size_bytes=sizes[sha256], filename=sha256
    )


@router.post("/blobs/missing")
@needs("node")
async def find_missing_node_blobs(
    work: WorkDep, body: MissingQuery, session: SessionDep
) -> MissingAnswer:
    """Which of these have to be uploaded."""
    known = await blobs.touch(session, work.workspace_id, body.sha256)
    return MissingAnswer(missing=[digest for digest in body.sha256 if digest not in known])


@router.put("/blobs/{sha256}", status_code=201)
@needs("node")
async def put_node_blob(
    principal: NodeAccess,
    work: WorkDep,
    sha256: Digest,
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    settings: SettingsDep,
) -> Response:
    """Upload bytes under their hash."""
    # There may be no room for both.
    await PartialBlob(objects, node_name=principal.id, sha256=sha256).forget()
    stored = await objects.put(
        request.stream(), expected_sha256=sha256, max_bytes=settings.max_upload_bytes
    )
    async with database.session() as session:
        await blobs.add(session, work.workspace_id, [stored])
    return Response(status_code=201)


@router.get("/blobs/{sha256}/partial")
@needs("node")
async def get_partial_node_blob(
    principal: NodeAccess, work: WorkDep, sha256: Digest, database: DatabaseDep, objects: ObjectsDep
) -> PartialBlobRead:
    """How much of a large file is here, after a connection broke off."""
    async with database.session() as session:
        sizes = await blobs.touch(session, work.workspace_id, [sha256])
    if sha256 in sizes and await objects.exists(sha256):
        return PartialBlobRead(length_bytes=sizes[sha256], is_complete=True)
    partial = PartialBlob(objects, node_name=principal.id, sha256=sha256)
    return PartialBlobRead(length_bytes=await partial.length_bytes(), is_complete=False)


@router.patch("/blobs/{sha256}/partial")
@needs("node")
async def send_partial_node_blob(
    principal: NodeAccess,
    work: WorkDep,
    sha256: Digest,
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    settings: SettingsDep,
    upload_offset: Annotated[int, Header(ge=0, le=MAX_INTEGER)],
    upload_length: Annotated[int, Header(ge=0, le=MAX_INTEGER)],
) -> PartialBlobRead:
    """Bytes of a large file from `Upload-Offset` on; with the last one it is a blob."""
    partial = PartialBlob(objects, node_name=principal.id, sha256=sha256)
    stored = await partial.receive(
        request.stream(),
        offset_bytes=upload_offset,
        size_bytes=upload_length,
        max_bytes=settings.max_upload_bytes,
    )
    if stored is None:
        return PartialBlobRead(length_bytes=await partial.length_bytes(), is_complete=False)
    async with database.session() as session:
        await blobs.add(session, work.workspace_id, [stored])
    return PartialBlobRead(length_bytes=stored.size_bytes, is_complete=True)


@router.delete("/blobs/{sha256}/partial", status_code=204)
@needs("node")
async def forget_partial_node_blob(
    principal: NodeAccess, _: WorkDep, sha256: Digest, objects: ObjectsDep
) -> None:
    """Remove what came of a large file that is no longer what it was."""
    await PartialBlob(objects, node_name=principal.id, sha256=sha256).forget()
