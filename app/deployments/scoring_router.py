"""Routes that callers of a deployed model use: with its keys, or an API token."""

from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from starlette.datastructures import Headers

from app.auth.needs import needs
from app.auth.shortcuts import Answer, Asked, shortcut
from app.deployments import repository
from app.deployments.access import TargetDep, find_target_for
from app.deployments.answers import PassedOn, passed_on
from app.deployments.errors import SignatureUnknown
from app.deployments.openapi import build_document
from app.deployments.repository import Target
from app.deployments.scoring import Call, ScoringRouter
from app.kernel.db import DatabaseDep
from app.kernel.errors import UnsupportedMedia
from app.kernel.media import is_json
from app.kernel.urls import absolute_url
from app.models.schemas import parse_signature

router = APIRouter(
    prefix="/v1/workspaces/{workspace}/deployments/{deployment}", tags=["deployments"]
)
_JSON: dict[str, Any] = {"content": {"application/json": {"schema": {}}}}


async def _score(asked: Asked) -> Answer:
    state = asked.scope["app"].state
    target = await find_target_for(
        asked.database,
        state.signer,
        asked.principal,
        workspace=asked.path["workspace"],
        deployment=asked.path["deployment"],
    )
    request_id: str = asked.scope["state"]["request_id"]
    headers = Headers(scope=asked.scope)
    call = Call("POST", "/v1/predict", asked.body, headers, request_id)
    found = await _answered(state.scoring, target, call, instance=asked.scope["path"])
    fields = tuple(
        (name.lower().encode(), value.encode("latin-1")) for name, value in found.headers.items()
    )
    return Answer(found.body, found.status, fields, found.media_type.encode("latin-1"))


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
@shortcut(_score)
@needs("deployments.score", deployment_key=True, audited=False)
async def score_deployment(target: TargetDep, request: Request) -> Response:
    """Predict: TensorFlow Serving's ``instances`` or ``inputs``, or Azure's ``data``.

    The exact shape of request and answer is in the deployment's own openapi.json.
    """
    if not is_json(request):
        raise UnsupportedMedia("Send the body as JSON with Content-Type: application/json.")
    return await _forward(target, request, "/v1/predict")


# The deployment's own openapi.json describes these; their paths are the protocols' own.
@router.post("/v1/models/{call:path}", include_in_schema=False)
@needs("deployments.score", deployment_key=True, audited=False)
async def call_tensorflow_serving(target: TargetDep, call: str, request: Request) -> Response:
    """TensorFlow Serving's REST interface: predict, classify, regress."""
    return await _forward(target, request, f"/v1/models/{quote(call, safe='/:')}")


@router.get("/v1/models/{call:path}", include_in_schema=False)
@needs("deployments.read", deployment_key=True)
async def read_tensorflow_serving(target: TargetDep, call: str, request: Request) -> Response:
    """TensorFlow Serving's REST interface: status and metadata."""
    return await _forward(target, request, f"/v1/models/{quote(call, safe='/:')}")


@router.post("/v2/{call:path}", include_in_schema=False)
@needs("deployments.score", deployment_key=True, audited=False)
async def call_open_inference(target: TargetDep, call: str, request: Request) -> Response:
    """The Open Inference Protocol: inference, with tensors as bytes too."""
    return await _forward(target, request, f"/v2/{quote(call, safe='/')}")


@router.get("/v2", include_in_schema=False)
@router.get("/v2/{call:path}", include_in_schema=False)
@needs("deployments.read", deployment_key=True)
async def read_open_inference(target: TargetDep, request: Request, call: str = "") -> Response:
    """The Open Inference Protocol: health and metadata."""
    path = f"/v2/{quote(call, safe='/')}"
    return await _forward(target, request, path.rstrip("/"))


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


async def _forward(target: Target, request: Request, path: str) -> Response:
    request_id = request.scope.get("state", {}).get("request_id", "")
    call = Call(request.method, path, await request.body(), request.headers, request_id)
    found = await _answered(request.app.state.scoring, target, call, instance=request.url.path)
    return Response(found.body, found.status, found.headers, media_type=found.media_type)


async def _answered(
    scoring: ScoringRouter, target: Target, call: Call, *, instance: str
) -> PassedOn:
    answered_by, answer = await scoring.answer(target, call)
    found = passed_on(answer, instance=instance, request_id=call.request_id)
    return found._replace(headers={**found.headers, "Served-By": answered_by})


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
