"""Calls of the ``azureml-core`` package about models."""

from typing import Any

from fastapi import APIRouter

from app.auth.access import AnyAccess
from app.auth.needs import needs
from app.azureml import models
from app.azureml.access import SCOPE, ScopeDep
from app.azureml.schemas import AssetSent, ModelSent
from app.kernel.db import SessionDep

router = APIRouter(tags=["azureml"], include_in_schema=False)
_MANAGEMENT = f"/modelmanagement/v1.0{SCOPE}"


@router.post(f"{_MANAGEMENT}/assets")
@needs("models.write", run=True)
async def create_azureml_asset(body: AssetSent, _: ScopeDep) -> dict[str, Any]:
    """Files that a model will be made of."""
    return models.asset_document(body)


@router.post(f"{_MANAGEMENT}/models")
@needs("models.write", run=True)
async def register_azureml_model(
    body: ModelSent, workspace: ScopeDep, session: SessionDep, caller: AnyAccess
) -> dict[str, Any]:
    """A new version of a model."""
    return models.model_document(*await models.register(session, workspace, caller, body))


@router.get(f"{_MANAGEMENT}/models/{{model_id}}")
@needs("models.read", run=True)
async def get_azureml_model(
    model_id: str, workspace: ScopeDep, session: SessionDep
) -> dict[str, Any]:
    """A version of a model."""
    return models.model_document(*await models.get(session, workspace, model_id))
