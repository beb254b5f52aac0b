"""Routes that callers of a deployed model use: with its keys, or an API token."""

from typing import Any

from fastapi import APIRouter, Request, Response

from app.auth.needs import needs
from app.deployments import repository, scoring
from app.deployments.access import TargetDep
from app.deployments.errors import SignatureUnknown
from app.deployments.openapi import build_document
from app.kernel.db import DatabaseDep
from app.kernel.urls import absolute_url
from app.models.schemas import parse_signature

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/deployments/{deployment}", tags=["deployments"]
)
_JSON: dict[str, Any] = {"content": {"application/json": {"schema": {}}}}


@router.post(
    "/score",
    response_class=Response,
    responses={200: _JSON},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"type": "object"}}},
        }
    },
)
@needs("deployments.score", deployment_key=True, audited=False)
async def score_deployment(target: TargetDep, request: Request) -> Response:
    """Predict: TensorFlow Serving's ``instances`` or ``inputs``, or Azure's ``data``.

    The exact shape of request and answer is in the deployment's own openapi.json.
    """
    return await scoring.score(
        request.app.state.scoring_client,
        request.app.state.signer,
        target=target,
        body=await request.body(),
        request=request,
    )


@router.get("/openapi.json")
@needs("deployments.read", deployment_key=True)
async def get_deployment_openapi(
    target: TargetDep, request: Request, database: DatabaseDep
) -> dict[str, Any]:
    """The OpenAPI document of the scoring address, made from the model's signature."""
    return await _document(target, request, database)


@router.get("/swagger.json")
@needs("deployments.read", deployment_key=True)
async def get_deployment_swagger(
    target: TargetDep, request: Request, database: DatabaseDep
) -> dict[str, Any]:
    """The same document under the name that Azure's clients look for."""
    return await _document(target, request, database)


async def _document(target: TargetDep, request: Request, database: DatabaseDep) -> dict[str, Any]:
    row = target.deployment
    signature = parse_signature(row.signature)
    if signature is None:
        raise SignatureUnknown(
            f"The signature of deployment {row.name!r} is known once it is Healthy; it is"
            f" {row.state}."
        )
    async with database.session() as session:
        names = await repository.model_names(session, [row.model_version_id])
    model, version = names[row.model_version_id]
    prefix = request.url.path.rpartition("/")[0]
    return build_document(
        signature,
        name=row.name,
        model=model,
        version=version,
        scoring_url=absolute_url(request, f"{prefix}/score"),
    )
