"""Health, open to all: alive, and able to serve; figures, for who may read them."""

from typing import Literal

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, Field

from app.auth.access import UserAccess
from app.auth.needs import needs
from app.auth.shortcuts import Answer, Asked, shortcut
from app.health.errors import NotReady
from app.health.figures import Figures
from app.health.readiness import OK, Readiness
from app.kernel.db import DatabaseDep
from app.kernel.measures import REGISTRY
from app.kernel.pool_figures import PoolFigures

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """How the server is."""

    status: str
    version: str


class Ready(BaseModel):
    """What the server can do now."""

    status: Literal["ready", "degraded"] = Field(
        description="degraded: it serves, and something that it can do without is away"
    )
    version: str
    checks: dict[str, str] = Field(description="Of each part: ok, or what is wrong")


async def _health(asked: Asked) -> Answer:
    health = Health(status="ok", version=asked.scope["app"].version)
    return Answer(health.model_dump_json().encode() + b"\n")


@router.get("/healthz")
@shortcut(_health)
@needs("anybody")
async def get_health(request: Request) -> Health:
    """The process is alive; what it needs is not looked at."""
    return Health(status="ok", version=request.app.version)


@router.get("/metrics", response_class=PlainTextResponse)
@needs("platform.read")
async def get_metrics(request: Request, database: DatabaseDep, _: UserAccess) -> Response:
    """Figures for Prometheus: those of this process, and those of the whole installation."""
    figures: Figures = request.app.state.figures
    asked = CollectorRegistry()
    asked.register(PoolFigures(database.pool_use))
    asked.register(await figures.ask())
    text = generate_latest(REGISTRY) + generate_latest(asked)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


@router.get("/readyz")
@needs("anybody")
async def get_readiness(request: Request) -> Ready:
    """The process can serve: database, its schema, and the object store are there; else 503."""
    readiness: Readiness = request.app.state.readiness
    is_ready, checks = await readiness.look()
    wrong = [words for words in checks.values() if words != OK]
    if not is_ready:
        raise NotReady(checks, " ".join(wrong))
    return Ready(
        status="degraded" if wrong else "ready", version=request.app.version, checks=checks
    )
