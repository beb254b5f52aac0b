"""MLflow's calls about versions of registered models."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.auth.needs import needs
from app.kernel.clock import utc_now
from app.kernel.db import SessionDep
from app.kernel.tags import merged_tags
from app.mlflow import registry, registry_documents, versions
from app.mlflow.access import CallerDep
from app.mlflow.refusals import MlflowRoute
from app.mlflow.registry_schemas import (
    ModelName,
    OfVersion,
    RegistrySearch,
    StageChange,
    VersionCreate,
    VersionNumber,
    VersionTagDelete,
    VersionTagSet,
    VersionUpdate,
)
from app.mlflow.search.registry_search import search_versions
from app.models import service
from app.tables.model import Model, ModelVersion

router = APIRouter(prefix="/mlflow/model-versions", tags=["mlflow"], route_class=MlflowRoute)


@router.post("/create")
@needs("models.write", run=True)
async def create_mlflow_version(
    body: VersionCreate, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """The files at an address as the next version."""
    return await _answer(session, *(await versions.create(session, caller, body)))


@router.get("/get")
@needs("models.read", run=True)
async def get_mlflow_version(
    name: ModelName, version: VersionNumber, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """One version."""
    return await _answer(session, *(await registry.get_version(session, caller, name, version)))


@router.get("/get-download-uri")
@needs("models.read", run=True)
async def get_mlflow_version_address(
    name: ModelName, version: VersionNumber, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Where its files can be downloaded."""
    _, row = await registry.get_version(session, caller, name, version)
    return {"artifact_uri": await registry.address_of(session, caller, row)}


@router.get("/search")
@needs("models.read", run=True)
async def search_mlflow_versions(
    query: Annotated[RegistrySearch, Query()], caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Versions that a filter selects."""
    return await search_versions(session, caller, query)


@router.patch("/update")
@needs("models.write", run=True)
async def update_mlflow_version(
    body: VersionUpdate, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Another description."""
    caller.require_user()
    model, row = await registry.get_version(session, caller, body.name, body.version, lock=True)
    row.description, row.updated_at = body.description, utc_now()
    return await _answer(session, model, row)


@router.post("/transition-stage")
@needs("models.write", run=True)
async def change_mlflow_version_stage(
    body: StageChange, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Another stage."""
    caller.require_user()
    await registry.get(session, caller, body.name, lock=True)
    model, row = await registry.get_version(session, caller, body.name, body.version, lock=True)
    archive = body.archive_existing_versions
    await registry.change_stage(session, model, row, body.stage, archive_existing=archive)
    return await _answer(session, model, row)


@router.delete("/delete")
@needs("models.write", run=True)
async def delete_mlflow_version(
    body: OfVersion, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Delete it; its number is not given again."""
    caller.require_user()
    model, row = await registry.get_version(session, caller, body.name, body.version)
    await service.delete_version(session, model, row)
    model.updated_at = utc_now()
    return {}


@router.post("/set-tag")
@needs("models.write", run=True)
async def set_mlflow_version_tag(
    body: VersionTagSet, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Set a tag."""
    caller.require_user()
    _, row = await registry.get_version(session, caller, body.name, body.version, lock=True)
    row.tags = merged_tags(row.tags, {body.key: body.value})
    return {}


@router.delete("/delete-tag")
@needs("models.write", run=True)
async def delete_mlflow_version_tag(
    body: VersionTagDelete, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Remove a tag; one that is not there is fine."""
    caller.require_user()
    _, row = await registry.get_version(session, caller, body.name, body.version, lock=True)
    row.tags = merged_tags(row.tags, {body.key: None})
    return {}


async def _answer(session: SessionDep, model: Model, row: ModelVersion) -> dict[str, Any]:
    await session.flush()
    return {"model_version": await registry_documents.version_document(session, model, row)}
