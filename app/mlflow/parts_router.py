"""MLflow's calls about artifacts that arrive in parts."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import Field

from app.auth.access import AnyAccess
from app.auth.needs import needs
from app.auth.signing import Signer
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.urls import absolute_url
from app.mlflow import parts
from app.mlflow.access import CallerDep, DetachedCallerDep
from app.mlflow.errors import InvalidParameter
from app.mlflow.refusals import MlflowRoute
from app.mlflow.schemas import Int64, Sent
from app.storage.access import ObjectsDep
from app.uploads import parts as uploads
from app.uploads.limits import Limits
from app.uploads.service import KEEP_SECONDS

router = APIRouter(prefix="/mlflow-artifacts/mpu", tags=["mlflow"], route_class=MlflowRoute)


class _OfFile(Sent):
    """A call about a file of the client's."""

    path: str = Field(min_length=1, max_length=5000)


class UploadCreate(_OfFile):
    """A file that will come in parts."""

    num_parts: int = Field(default=1, ge=0, le=uploads.MOST_PARTS)


class UploadAbort(_OfFile):
    """An upload that is given up."""

    upload_id: str = Field(min_length=1, max_length=100)


class PartSent(Sent):
    """A part, as the client was told of it."""

    part_number: Int64
    etag: str | None = Field(default=None, max_length=1000)


class UploadComplete(UploadAbort):
    """An upload all of whose parts were sent."""

    parts: list[PartSent] = Field(max_length=uploads.MOST_PARTS)


@router.post("/create/{folder:path}")
@needs("runs.write", run=True)
async def create_mlflow_upload(
    folder: str,
    body: UploadCreate,
    request: Request,
    caller: CallerDep,
    session: SessionDep,
    settings: SettingsDep,
) -> dict[str, Any]:
    """Where the parts of a file are sent."""
    place = parts.place_of_file(folder, body.path)
    upload = await parts.create(
        session, caller, place, part_count=body.num_parts, settings=settings
    )
    signer: Signer = request.app.state.signer
    address = absolute_url(request, request.url.path.partition("/mpu/create/")[0] + "/mpu/parts")
    return {"upload_id": upload.id, "credentials": parts.credentials(signer, upload, address)}


@router.put("/parts/{upload_id}/{number}", response_class=Response)
@needs("any-credential", audited=False)
async def send_mlflow_part(
    upload_id: str,
    number: Annotated[int, Path(ge=1, le=uploads.MOST_PARTS)],
    request: Request,
    sender: AnyAccess,
    database: DatabaseDep,
    objects: ObjectsDep,
    settings: SettingsDep,
) -> Response:
    """One part, as the body of the request; its ETag names it when the upload is completed."""
    async with database.session() as session:
        upload = await parts.opened(session, sender, upload_id)
    found = await uploads.receive(
        database,
        objects,
        upload,
        number,
        request.stream(),
        limits=Limits.of(settings),
        keep_seconds=KEEP_SECONDS,
    )
    return Response(headers={"ETag": f'"{found}"'})


@router.post("/complete/{folder:path}")
@needs("runs.write", run=True)
async def complete_mlflow_upload(
    folder: str,
    body: UploadComplete,
    caller: DetachedCallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    settings: SettingsDep,
) -> dict[str, Any]:
    """Make one file of the parts."""
    if [part.part_number for part in body.parts] != list(range(1, len(body.parts) + 1)):
        raise InvalidParameter("Name all parts, in ascending order and each once.")
    place = parts.place_of_file(folder, body.path)
    etags = [part.etag or "" for part in body.parts]
    await parts.complete(database, objects, caller, place, body.upload_id, etags, settings=settings)
    return {}


@router.post("/abort/{folder:path}")
@needs("runs.write", run=True)
async def abort_mlflow_upload(
    folder: str,
    body: UploadAbort,
    caller: DetachedCallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
) -> dict[str, Any]:
    """Give an upload up."""
    place = parts.place_of_file(folder, body.path)
    await parts.abort(database, objects, caller, place, body.upload_id)
    return {}
