"""Routes of the files of a version of a model."""

from fastapi import APIRouter, Request, Response

from app.auth.needs import needs
from app.auth.writes import WriteRoute
from app.kernel.media import BytesResponse, GzipResponse
from app.kernel.names import NamePath
from app.kernel.pagination import Page, PageDep, page_of
from app.models.access import DetachedVersionDep, VersionDep
from app.models.errors import ModelFileNotFound
from app.models.schemas import ModelFile
from app.storage.access import ObjectsDep
from app.storage.serve import object_response
from app.storage.serve_archive import archive_response
from app.storage.tar_stream import TarEntry

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/models", tags=["models"], route_class=WriteRoute
)


@router.get("/{model}/versions/{version}/files")
@needs("models.read", run=True)
async def list_model_files(model: NamePath, row: VersionDep, page: PageDep) -> Page[ModelFile]:
    """Files of a version, by path."""
    found = page_of(row.files, page, key_of=lambda file: [file["path"]], listing=row.id)
    return Page(
        items=[ModelFile.model_validate(file) for file in found.items],
        next_page_token=found.next_page_token,
    )


@router.get("/{model}/versions/{version}/files/{path:path}", response_class=BytesResponse)
@router.head("/{model}/versions/{version}/files/{path:path}", include_in_schema=False)
@needs("models.read", run=True)
async def get_model_file(
    model: NamePath, row: DetachedVersionDep, path: str, request: Request, objects: ObjectsDep
) -> Response:
    """Download one file; ranges and conditions work."""
    for file in row.files:
        if file["path"] == path:
            return await object_response(
                request,
                objects,
                sha256=file["sha256"],
                size_bytes=file["size_bytes"],
                filename=path.rpartition("/")[2],
            )
    raise ModelFileNotFound(f"The version has no file {path!r}; GET …/files lists them.")


@router.get("/{model}/versions/{version}/archive", response_class=GzipResponse)
@router.head("/{model}/versions/{version}/archive", include_in_schema=False)
@needs("models.read", run=True)
async def get_model_archive(
    model: NamePath, row: DetachedVersionDep, request: Request, objects: ObjectsDep
) -> Response:
    """All files of a version as one tar.gz stream."""
    entries = [
        TarEntry(path=file["path"], sha256=file["sha256"], size_bytes=file["size_bytes"])
        for file in row.files
    ]
    filename = f"{model}-{row.version}.tar.gz"
    return await archive_response(request, objects, entries, filename=filename)
