"""MLflow's calls about artifacts."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from app.auth.needs import needs
from app.kernel.config import SettingsDep
from app.kernel.db import DatabaseDep, SessionDep
from app.mlflow import artifacts, logged_models, places, registry
from app.mlflow.access import (
    CallerDep,
    DetachedCallerDep,
    NonEmptyText,
    find_run,
    required_run,
)
from app.mlflow.artifacts import Entry
from app.mlflow.errors import InvalidParameter, NotImplementedHere
from app.mlflow.media_types import media_type_of
from app.mlflow.names import experiment_id_of
from app.mlflow.places import Place
from app.mlflow.refusals import MlflowRoute
from app.mlflow.registry_schemas import VersionNumber
from app.storage.access import ObjectsDep
from app.storage.serve import object_response
from app.storage.writer import StoredObject
from app.tables.experiment import Experiment

router = APIRouter(tags=["mlflow"], route_class=MlflowRoute)
view_router = APIRouter(tags=["mlflow"], route_class=MlflowRoute)
_ARTIFACTS = "/mlflow-artifacts/artifacts"
_SMALL_BYTES = 10 * 1024 * 1024
PathAsked = Annotated[str, Query(min_length=1, max_length=5000)]


@router.get(_ARTIFACTS)
@needs("runs.read", run=True)
async def list_mlflow_artifacts_of_path(
    caller: CallerDep, session: SessionDep, path: Annotated[str, Query(max_length=5000)] = ""
) -> dict[str, Any]:
    """What lies directly in a folder; names are relative to it."""
    found = await artifacts.entries(session, caller, _place(path))
    return {"files": [_entry(entry) for entry in found]}


@router.get(_ARTIFACTS + "/{path:path}", response_class=Response)
@router.head(_ARTIFACTS + "/{path:path}", response_class=Response)
@needs("runs.read", run=True)
async def download_mlflow_artifact(
    path: str,
    request: Request,
    caller: DetachedCallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
) -> Response:
    """One file; ranges and conditions work."""
    place = _place(path)
    async with database.session() as session:
        stored = await artifacts.find(session, caller, place)
    return await _content(request, objects, place, stored)


@router.put(_ARTIFACTS + "/{path:path}")
@needs("runs.write", run=True)
async def upload_mlflow_artifact(
    path: str,
    request: Request,
    caller: DetachedCallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    settings: SettingsDep,
) -> dict[str, Any]:
    """One file, as the body of the request."""
    if path.endswith("/") or not path:
        raise InvalidParameter("Artifact path must include a filename (cannot end with '/').")
    place = _place(path)
    async with database.session() as session:
        await artifacts.check_writable(session, caller, place)
    stored = await objects.put(request.stream(), max_bytes=settings.max_upload_bytes)
    async with database.session() as session:
        await artifacts.put(session, caller, place, stored)
    return {}


@router.delete(_ARTIFACTS + "/{path:path}")
@needs("runs.write", run=True)
async def delete_mlflow_artifacts(
    path: str, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Remove a file or a folder."""
    await artifacts.remove(session, caller, _place(path))
    return {}


@router.get("/mlflow-artifacts/presigned/{rest:path}")
@needs("runs.read", run=True)
async def refuse_mlflow_presigned(rest: str, _: CallerDep) -> None:
    """Addresses at other stores are not offered; clients go without."""
    raise NotImplementedHere(
        "Multipart download is not supported for the current artifact repository"
    )


@router.get("/mlflow/artifacts/list")
@needs("runs.read", run=True)
async def list_mlflow_run_artifacts(
    caller: CallerDep,
    session: SessionDep,
    run_id: str = "",
    run_uuid: str = "",
    path: Annotated[str, Query(max_length=5000)] = "",
) -> dict[str, Any]:
    """What lies directly in a folder of a run; paths are those of the run's files."""
    _check_plain(path)
    run = await find_run(session, caller, run_id or run_uuid)
    experiment = await session.get_one(Experiment, run.experiment_id)
    folder = places.plain(path)
    found = await artifacts.entries(session, caller, Place("run", run.id, folder))
    prefix = f"{folder}/" if folder else ""
    return {
        "root_uri": places.run_root(experiment_id_of(experiment.id, experiment.name), run.id),
        "files": [_entry(entry, prefix) for entry in found],
    }


@router.post("/mlflow/upload-artifact")
@needs("runs.write", run=True)
async def upload_mlflow_run_artifact(
    request: Request,
    caller: DetachedCallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    run_uuid: str = "",
    path: Annotated[str, Query(max_length=5000)] = "",
) -> dict[str, Any]:
    """A small file of a run, as MLflow's own pages send it."""
    if not run_uuid:
        raise InvalidParameter("Request must specify run_uuid.")
    if not path:
        raise InvalidParameter("Request must specify path.")
    _check_plain(path)
    place = Place("run", run_uuid, path)
    async with database.session() as session:
        await artifacts.check_writable(session, caller, place)
    stored = await objects.put(request.stream(), max_bytes=_SMALL_BYTES)
    if not stored.size_bytes:
        raise InvalidParameter("Request must specify data.")
    async with database.session() as session:
        await artifacts.put(session, caller, place, stored)
    return {}


@view_router.get("/get-artifact", response_class=Response)
@needs("runs.read", run=True)
async def get_mlflow_run_artifact(
    request: Request,
    caller: DetachedCallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    path: PathAsked,
    run_id: str = "",
    run_uuid: str = "",
) -> Response:
    """A file of a run, as MLflow's own pages fetch it."""
    _check_plain(path)
    place = Place("run", required_run(run_id or run_uuid), path)
    async with database.session() as session:
        stored = await artifacts.find(session, caller, place)
    return await _content(request, objects, place, stored)


@view_router.get("/model-versions/get-artifact", response_class=Response)
@needs("models.read", run=True)
async def get_mlflow_version_artifact(
    name: NonEmptyText,
    version: VersionNumber,
    path: PathAsked,
    request: Request,
    caller: DetachedCallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
) -> Response:
    """The same of a registered version."""
    _check_plain(path)
    async with database.session() as session:
        _, row = await registry.get_version(session, caller, name, version)
        place = Place("version", row.id, path)
        stored = await artifacts.find(session, caller, place)
    return await _content(request, objects, place, stored)


@router.get("/mlflow/logged-models/{model_id}/artifacts/directories")
@needs("runs.read", run=True)
async def list_mlflow_model_artifacts(
    model_id: str,
    caller: CallerDep,
    session: SessionDep,
    artifact_directory_path: Annotated[str, Query(max_length=5000)] = "",
) -> dict[str, Any]:
    """The same for a logged model."""
    _check_plain(artifact_directory_path)
    model = await logged_models.get(session, caller, model_id)
    experiment = await session.get_one(Experiment, model.experiment_id)
    folder = places.plain(artifact_directory_path)
    found = await artifacts.entries(session, caller, Place("model", model_id, folder))
    prefix = f"{folder}/" if folder else ""
    return {
        "root_uri": places.model_root(experiment_id_of(experiment.id, experiment.name), model.id),
        "files": [_entry(entry, prefix) for entry in found],
    }


@router.get("/mlflow/logged-models/{model_id}/artifacts/files", response_class=Response)
@needs("runs.read", run=True)
async def get_mlflow_model_artifact(
    model_id: str,
    request: Request,
    caller: DetachedCallerDep,
    database: DatabaseDep,
    objects: ObjectsDep,
    artifact_file_path: PathAsked,
) -> Response:
    """A file of a logged model, as MLflow's own pages fetch it."""
    _check_plain(artifact_file_path)
    place = Place("model", model_id, artifact_file_path)
    async with database.session() as session:
        # Where clients go on with an artifact's address, one that was deleted is there still.
        await logged_models.get(session, caller, model_id)
        stored = await artifacts.find(session, caller, place)
    return await _content(request, objects, place, stored)


async def _content(
    request: Request, objects: ObjectsDep, place: Place, stored: StoredObject
) -> Response:
    filename = place.path.rpartition("/")[2]
    return await object_response(
        request,
        objects,
        sha256=stored.sha256,
        size_bytes=stored.size_bytes,
        filename=filename,
        media_type=media_type_of(filename),
    )


def _check_plain(path: str) -> None:
    if path.startswith("/") or not places.is_safe(path):
        raise InvalidParameter("Invalid path")


def _entry(entry: Entry, prefix: str = "") -> dict[str, Any]:
    document: dict[str, Any] = {
        "path": prefix + entry.name,
        "is_dir": entry.size_bytes is None,
    }
    if entry.size_bytes is not None:
        document["file_size"] = entry.size_bytes
    return document


def _place(path: str) -> Place:
    _check_plain(path)
    return places.place_of(path)
