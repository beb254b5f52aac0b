"""Routes of a run's files."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from app.auth.access import UserOrRunAccess
from app.auth.needs import needs
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.errors import NotFound
from app.kernel.media import BYTES_BODY, TAKES_BYTES, BytesResponse, GzipResponse
from app.kernel.pagination import Page, PageDep
from app.logs import repository as logs
from app.logs.errors import LogExpired
from app.runs import repository, service
from app.runs.access import DetachedRunDep, RunDep
from app.runs.archives import archive_entries
from app.runs.schemas import RunFileRead
from app.storage.access import ObjectsDep
from app.storage.paths import check_path
from app.storage.serve import object_response
from app.storage.serve_archive import archive_response

router = APIRouter(prefix="/v1/workspaces/{workspace}/runs/{run_id}", tags=["runs"])


class RunFileNotFound(NotFound):
    """The run has no such file."""

    code = "file_not_found"


@router.get("/files")
@needs("runs.read", run=True)
async def list_run_files(
    run: RunDep,
    session: SessionDep,
    page: PageDep,
    prefix: Annotated[str, Query(max_length=5000, description="Only paths that begin so")] = "",
) -> Page[RunFileRead]:
    """Files by path: what was written to ./outputs, uploaded, and the sealed logs."""
    rows, following = await repository.list_files(session, run.id, page, prefix=prefix)
    return Page(items=[RunFileRead.model_validate(row) for row in rows], next_page_token=following)


@router.get("/files/{path:path}", response_class=BytesResponse)
@router.head("/files/{path:path}", include_in_schema=False)
@needs("runs.read", run=True)
async def get_run_file(
    run: DetachedRunDep, path: str, request: Request, database: DatabaseDep, objects: ObjectsDep
) -> Response:
    """Download one file; ranges and conditions work."""
    async with database.session() as session:
        row = await repository.find_file(session, run.id, path)
        if row is None:
            stream = await logs.find_stream(session, run.id, max(1, run.attempt), path)
            if stream is not None and stream.expired_at is not None:
                raise LogExpired(stream.expired_at)
            raise RunFileNotFound(f"The run has no file {path!r}; GET …/files lists them.")
    return await object_response(
        request,
        objects,
        sha256=row.sha256,
        size_bytes=row.size_bytes,
        filename=path.rpartition("/")[2],
    )


@router.put(
    "/files/{path:path}",
    status_code=201,
    responses={200: {"model": RunFileRead}},
    openapi_extra=BYTES_BODY,
    dependencies=[TAKES_BYTES],
)
@needs("runs.write", run=True)
async def upload_run_file(
    run: DetachedRunDep,
    path: str,
    request: Request,
    response: Response,
    database: DatabaseDep,
    objects: ObjectsDep,
    settings: SettingsDep,
    principal: UserOrRunAccess,
) -> RunFileRead:
    """Add a file while the run goes on (201); the same content again is fine (200)."""
    check_path(path)
    stored = await objects.put(request.stream(), max_bytes=settings.max_upload_bytes)
    async with database.session() as session:
        row, is_new = await service.add_file(
            session, run, path=path, stored=stored, attempt=principal.attempt
        )
        response.status_code = 201 if is_new else 200
        return RunFileRead.model_validate(row)


@router.get("/archive", response_class=GzipResponse)
@router.head("/archive", include_in_schema=False)
@needs("runs.read", run=True)
async def get_run_archive(
    run: DetachedRunDep,
    request: Request,
    database: DatabaseDep,
    objects: ObjectsDep,
    prefix: Annotated[str, Query(max_length=5000)] = "outputs/",
) -> Response:
    """All files under a prefix as one tar.gz stream; logs of a run that goes on as they are now."""
    entries = await archive_entries(database, objects, run, prefix=prefix)
    return await archive_response(request, objects, entries, filename=f"{run.id}.tar.gz")
