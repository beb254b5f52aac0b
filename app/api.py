"""The one list of routers."""

from fastapi import APIRouter

from app.auth import router as auth
from app.experiments import router as experiments
from app.health import router as health
from app.workspaces import router as workspaces

ROUTERS: tuple[APIRouter, ...] = (
    health.router,
    auth.router,
    workspaces.router,
    experiments.router,
)
