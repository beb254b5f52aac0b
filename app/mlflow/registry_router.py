"""MLflow's calls about registered models."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.auth.needs import needs
from app.kernel.db import SessionDep
from app.kernel.tags import merged_tags
from app.mlflow import registry, registry_aliases, registry_documents
from app.mlflow.access import CallerDep, NonEmptyText
from app.mlflow.refusals import MlflowRoute
from app.mlflow.registry_schemas import (
    AliasDelete,
    AliasSet,
    LatestAsked,
    ModelCreate,
    ModelName,
    ModelRename,
    ModelSearch,
    ModelTagDelete,
    ModelTagSet,
    ModelUpdate,
    OfModel,
)
from app.mlflow.search.registry_search import search_models
from app.models import service
from app.tables.model import Model

router = APIRouter(prefix="/mlflow/registered-models", tags=["mlflow"], route_class=MlflowRoute)


@router.post("/create")
@needs("models.write", run=True)
async def create_mlflow_model(
    body: ModelCreate, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """A registered model without versions."""
    return await _answer(session, await registry.create(session, caller, body))


@router.get("/get")
@needs("models.read", run=True)
async def get_mlflow_model(
    name: ModelName, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """One of them."""
    return await _answer(session, await registry.get(session, caller, name))


@router.get("/search")
@needs("models.read", run=True)
async def search_mlflow_models(
    query: Annotated[ModelSearch, Query()], caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Registered models that a filter selects."""
    return await search_models(session, caller, query)


@router.post("/rename")
@needs("models.write", run=True)
async def rename_mlflow_model(
    body: ModelRename, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Another name."""
    caller.require_user()
    return await _answer(session, await registry.rename(session, caller, body.name, body.new_name))


@router.patch("/update")
@needs("models.write", run=True)
async def update_mlflow_model(
    body: ModelUpdate, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Another description."""
    caller.require_user()
    model = await registry.get(session, caller, body.name, lock=True)
    model.description = body.description
    return await _answer(session, model)


@router.delete("/delete")
@needs("models.write", run=True)
async def delete_mlflow_model(
    body: OfModel, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Delete it with its versions."""
    caller.require_user()
    await service.delete_model(session, await registry.get(session, caller, body.name))
    return {}


@router.post("/set-tag")
@needs("models.write", run=True)
async def set_mlflow_model_tag(
    body: ModelTagSet, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Set a tag."""
    caller.require_user()
    model = await registry.get(session, caller, body.name, lock=True)
    model.tags = merged_tags(model.tags, {body.key: body.value})
    return {}


@router.delete("/delete-tag")
@needs("models.write", run=True)
async def delete_mlflow_model_tag(
    body: ModelTagDelete, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Remove a tag; one that is not there is fine."""
    caller.require_user()
    model = await registry.get(session, caller, body.name, lock=True)
    model.tags = merged_tags(model.tags, {body.key: None})
    return {}


@router.get("/get-latest-versions")
@needs("models.read", run=True)
async def get_mlflow_latest_versions_by_query(
    query: Annotated[LatestAsked, Query()], caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """The newest version in each stage."""
    model = await registry.get(session, caller, query.name)
    rows = await registry.latest(session, model, query.stages)
    named = {model.id: model.name}
    return {"model_versions": await registry_documents.version_documents(session, named, rows)}


@router.post("/get-latest-versions")
@needs("models.read", run=True, audited=False)
async def get_mlflow_latest_versions(
    body: LatestAsked, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """The same, asked in the body."""
    return await get_mlflow_latest_versions_by_query(body, caller, session)


@router.post("/alias")
@needs("models.write", run=True)
async def set_mlflow_alias(
    body: AliasSet, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Let a name point to a version."""
    caller.require_user()
    await registry_aliases.set_alias(session, caller, body.name, body.alias, body.version)
    return {}


@router.delete("/alias")
@needs("models.write", run=True)
async def delete_mlflow_alias(
    body: AliasDelete, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Remove such a name."""
    caller.require_user()
    await registry_aliases.delete_alias(session, caller, body.name, body.alias)
    return {}


@router.get("/alias")
@needs("models.read", run=True)
async def get_mlflow_version_by_alias(
    name: ModelName, alias: NonEmptyText, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """The version that a name points to."""
    model, row = await registry_aliases.by_alias(session, caller, name, alias)
    document = await registry_documents.version_document(session, model, row)
    return {"model_version": document}


async def _answer(session: SessionDep, model: Model) -> dict[str, Any]:
    await session.flush()
    await session.refresh(model)
    return {"registered_model": await registry_documents.document(session, model)}
