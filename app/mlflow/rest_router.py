"""What this server says of itself, and everything of MLflow's protocol that it does not serve."""

from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import PlainTextResponse

from app.auth.needs import needs
from app.mlflow.access import CallerDep
from app.mlflow.errors import NoSuchEndpoint
from app.mlflow.refusals import MlflowRoute

router = APIRouter(tags=["mlflow"], route_class=MlflowRoute)
_METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE"]


@router.get("/health")
@needs("workspace.read", run=True)
async def get_mlflow_health(_: CallerDep) -> PlainTextResponse:
    """That it is there."""
    return PlainTextResponse("OK")


@router.get("/api/3.0/mlflow/server-info")
@router.get("/api/3.0/mlflow/server-features")
@router.get("/ajax-api/3.0/mlflow/server-info")
@needs("workspace.read", run=True)
async def get_mlflow_server_info(_: CallerDep) -> dict[str, Any]:
    """Which of the options of MLflow's own server there are: none."""
    return {
        "store_type": "trainwright",
        "workspaces_enabled": False,
        "multipart_uploads_enabled": False,
        "multipart_downloads_enabled": False,
    }


@router.api_route("/{rest:path}", methods=_METHODS)
@needs("workspace.read", run=True)
async def refuse_mlflow_call(request: Request, rest: str, _: CallerDep) -> None:
    """Everything else says that it is not served."""
    raise NoSuchEndpoint(
        f"{request.method} /{rest} is not served here: of MLflow's protocol there are experiments, "
        "runs, metrics, artifacts, logged models and the model registry."
    )
