"""MLflow's REST protocol below a workspace: ``…/workspaces/{workspace}/mlflow`` is a tracking
address, so that its clients need no more than that and a token."""

from fastapi import APIRouter

from app.mlflow import (
    artifacts_router,
    experiments_router,
    logged_models_router,
    metrics_router,
    parts_router,
    registry_router,
    rest_router,
    runs_router,
    versions_router,
)

PREFIXES = ("/api/2.0", "/ajax-api/2.0")
"""Where clients, and where MLflow's own pages, call the same things."""
_PARTS = (
    experiments_router.router,
    runs_router.router,
    metrics_router.router,
    artifacts_router.router,
    parts_router.router,
    logged_models_router.router,
    registry_router.router,
    versions_router.router,
)


def _assembled() -> APIRouter:
    assembled = APIRouter(prefix="/v1/workspaces/{workspace}/mlflow", include_in_schema=False)
    for prefix in PREFIXES:
        for part in _PARTS:
            assembled.include_router(part, prefix=prefix)
    assembled.include_router(artifacts_router.view_router)
    assembled.include_router(rest_router.router)
    return assembled


router = _assembled()
