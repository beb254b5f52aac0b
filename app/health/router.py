"""Health, open to all: alive, and able to serve."""

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from pydantic import BaseModel
from sqlalchemy import text

from app.auth.access import UserAccess
from app.auth.needs import needs
from app.auth.shortcuts import Answer, Asked, shortcut
from app.health import repository
from app.kernel.db import DatabaseDep, SessionDep
from app.kernel.request_metrics import REGISTRY

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """How the server is."""

    status: str
    version: str


async def _health(asked: Asked) -> Answer:
    health = Health(status="ok", version=asked.scope["app"].version)
    return Answer(health.model_dump_json().encode() + b"\n")


@router.get("/healthz")
@shortcut(_health)
@needs("anybody")
async def get_health(request: Request) -> Health:
    """The process is alive."""
    return Health(status="ok", version=request.app.version)


@router.get("/metrics", response_class=PlainTextResponse)
@needs("platform.read")
async def get_metrics(session: SessionDep, _: UserAccess) -> Response:
    """Figures for Prometheus: requests of this process, runs by state, overdue work."""
    lines = [generate_latest(REGISTRY).decode()]
    lines.append("# TYPE trainwright_runs gauge\n")
    for status, count in await repository.runs_by_status(session):
        lines.append(f'trainwright_runs{{status="{status}"}} {count}\n')
    lines.append("# TYPE trainwright_reconcile_lag_seconds gauge\n")
    for table, seconds in await repository.reconcile_lag_seconds(session):
        lines.append(f'trainwright_reconcile_lag_seconds{{table="{table}"}} {seconds:.3f}\n')
    return Response("".join(lines), media_type=CONTENT_TYPE_LATEST)


@router.get("/readyz")
@needs("anybody")
async def get_readiness(request: Request, database: DatabaseDep) -> Health:
    """The process can serve: the database answers; else 503."""
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
    return Health(status="ready", version=request.app.version)
