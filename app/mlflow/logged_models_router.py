"""MLflow's calls about logged models."""

from typing import Any

from fastapi import APIRouter

from app.auth.needs import needs
from app.kernel.db import SessionDep
from app.kernel.tags import merged_tags
from app.mlflow import logged_models
from app.mlflow.access import CallerDep
from app.mlflow.refusals import MlflowRoute
from app.mlflow.registry_schemas import (
    LoggedModelCreate,
    LoggedModelFinalize,
    LoggedModelParams,
    LoggedModelSearch,
    LoggedModelTags,
)
from app.mlflow.search.logged_model_search import search_logged_models
from app.tables.tracking import LoggedModel

router = APIRouter(prefix="/mlflow/logged-models", tags=["mlflow"], route_class=MlflowRoute)


@router.post("")
@needs("runs.write", run=True)
async def create_mlflow_logged_model(
    body: LoggedModelCreate, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """A model whose files will follow."""
    return await _answer(session, await logged_models.create(session, caller, body))


@router.post("/search")
@needs("runs.read", run=True, audited=False)
async def search_mlflow_logged_models(
    body: LoggedModelSearch, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Logged models that a filter selects."""
    return await search_logged_models(session, caller, body)


@router.get("/{model_id}")
@needs("runs.read", run=True)
async def get_mlflow_logged_model(
    model_id: str, caller: CallerDep, session: SessionDep, allow_deleted: bool = False
) -> dict[str, Any]:
    """One of them."""
    row = await logged_models.get(session, caller, model_id, with_deleted=allow_deleted)
    return await _answer(session, row)


@router.patch("/{model_id}")
@needs("runs.write", run=True)
async def finalize_mlflow_logged_model(
    model_id: str, body: LoggedModelFinalize, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """How its upload ended."""
    row = await logged_models.own(session, caller, model_id)
    row.status = body.status
    return await _answer(session, row)


@router.delete("/{model_id}")
@needs("runs.write", run=True)
async def delete_mlflow_logged_model(
    model_id: str, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Hide it."""
    logged_models.delete(await logged_models.own(session, caller, model_id))
    return {}


@router.patch("/{model_id}/tags")
@needs("runs.write", run=True)
async def set_mlflow_logged_model_tags(
    model_id: str, body: LoggedModelTags, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Set tags."""
    row = await logged_models.own(session, caller, model_id)
    row.tags = merged_tags(row.tags, {tag.key: tag.value for tag in body.tags})
    return await _answer(session, row)


@router.delete("/{model_id}/tags/{key:path}")
@needs("runs.write", run=True)
async def delete_mlflow_logged_model_tag(
    model_id: str, key: str, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Remove a tag."""
    row = await logged_models.own(session, caller, model_id)
    logged_models.remove_tag(row, key)
    return {}


@router.post("/{model_id}/params")
@needs("runs.write", run=True, audited=False)
async def log_mlflow_logged_model_params(
    model_id: str, body: LoggedModelParams, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Add parameters."""
    row = await logged_models.own(session, caller, model_id)
    logged_models.add_params(row, body.params)
    return {}


async def _answer(session: SessionDep, row: LoggedModel) -> dict[str, Any]:
    await session.flush()
    await session.refresh(row)
    return {"model": await logged_models.document(session, row)}
