"""Calls of the ``azureml-core`` package about the files of runs."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response

from app.auth.access import AnyAccess
from app.auth.needs import needs
from app.auth.signing import Signer
from app.azureml import artifacts
from app.azureml.access import SCOPE, ScopeDep, check_current
from app.azureml.documents import artifact_document
from app.azureml.errors import ArtifactNotFound
from app.azureml.schemas import ArtifactsSent
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.urls import base_url
from app.runs import repository, service
from app.storage.access import ObjectsDep
from app.storage.paths import check_path
from app.storage.serve import object_response
from app.tables.run import Run

router = APIRouter(tags=["azureml"], include_in_schema=False)
_ARTIFACTS = f"/artifact/v2.0{SCOPE}/artifacts"
_PLACE = "{origin}/{container}"
_SIGNED = f"{artifacts.SIGNED}/{{token}}/{{path:path}}"


async def _run(
    workspace: ScopeDep, origin: str, container: str, session: SessionDep, caller: AnyAccess
) -> Run:
    return await artifacts.run_with_files(session, workspace, origin, container, caller)


_RunDep = Annotated[Run, Depends(_run, scope="function")]


class _Addresses:
    """Makes addresses of files."""

    def __init__(self, request: Request, caller: AnyAccess) -> None:
        self._signer: Signer = request.app.state.signer
        self._base = base_url(request)
        self._caller = caller

    def document(self, run: Run, path: str, right: artifacts.Right = "read") -> dict[str, Any]:
        """A file with its address."""
        url = artifacts.signed_url(self._signer, self._base, run, self._caller, path, right=right)
        return {**artifact_document(run.id, path), "contentUri": url}


_AddressesDep = Annotated[_Addresses, Depends()]


@router.post(f"{_ARTIFACTS}/batch/metadata/{_PLACE}")
@needs("runs.write", run=True, audited=False)
async def announce_azureml_artifacts(
    run: _RunDep,
    body: ArtifactsSent,
    session: SessionDep,
    caller: AnyAccess,
    addresses: _AddressesDep,
) -> dict[str, Any]:
    """Where to upload these files."""
    await check_current(session, caller, run)
    paths = [check_path(sent.path) for sent in body.paths]
    return {
        "artifacts": {path: artifact_document(run.id, path) for path in paths},
        "artifactContentInformation": {
            path: addresses.document(run, path, "write") for path in paths
        },
        "errors": {},
    }


@router.get(f"{_ARTIFACTS}/contentinfo/{_PLACE}/{{path:path}}")
@needs("runs.read", run=True)
async def locate_azureml_artifact(
    run: _RunDep, path: str, session: SessionDep, addresses: _AddressesDep
) -> dict[str, Any]:
    """Where to download a file."""
    if await repository.find_file(session, run.id, path) is None:
        raise ArtifactNotFound(f"The run has no file {path!r}.")
    return addresses.document(run, path)


@router.get(f"{_ARTIFACTS}/prefix/contentinfo/{_PLACE}/{{path:path}}")
@needs("runs.read", run=True)
async def locate_azureml_artifacts(
    run: _RunDep, path: str, session: SessionDep, addresses: _AddressesDep
) -> dict[str, Any]:
    """Where to download the files of a folder."""
    found = await artifacts.files_below(session, run, path)
    return {
        "value": [addresses.document(run, file.path) for file in found],
        "continuationToken": None,
    }


@router.get(f"{_ARTIFACTS}/{_PLACE}")
@needs("runs.read", run=True)
async def list_azureml_artifacts(run: _RunDep, session: SessionDep) -> dict[str, Any]:
    """The files of a run."""
    found = await artifacts.files_below(session, run, "")
    return {
        "value": [artifact_document(run.id, file.path) for file in found],
        "continuationToken": None,
    }


@router.get(_SIGNED, response_class=Response)
@router.head(_SIGNED, response_class=Response)
@needs("any-credential")
async def download_azureml_artifact(
    path: str, request: Request, caller: AnyAccess, database: DatabaseDep, objects: ObjectsDep
) -> Response:
    """A file, at an address that was given out; the token was checked with the address."""
    async with database.session() as session:
        run = await artifacts.signed_run(session, caller, right="read")
        file = await repository.find_file(session, run.id, path)
    if file is None:
        raise ArtifactNotFound(f"The run has no file {path!r}.")
    return await object_response(
        request,
        objects,
        sha256=file.sha256,
        size_bytes=file.size_bytes,
        filename=path.rpartition("/")[2],
    )


@router.put(_SIGNED, status_code=201)
@needs("any-credential")
async def upload_azureml_artifact(
    path: str,
    request: Request,
    caller: AnyAccess,
    database: DatabaseDep,
    objects: ObjectsDep,
    settings: SettingsDep,
) -> dict[str, Any]:
    """The content of a file, which never gets another one."""
    check_path(path)
    async with database.session() as session:
        await artifacts.signed_run(session, caller, right="write")
    stored = await objects.put(request.stream(), max_bytes=settings.max_upload_bytes)
    async with database.session() as session:
        run = await artifacts.signed_run(session, caller, right="write")
        await service.add_file(session, run, path=path, stored=stored, attempt=caller.attempt)
    return {"path": path, "sha256": stored.sha256, "size_bytes": stored.size_bytes}
