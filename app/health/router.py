"""Health, open to all: alive, and able to serve."""

from fastapi import APIRouter, Request
from pydantic import BaseModel
from sqlalchemy import text

from app.kernel.db import DatabaseDep

router = APIRouter(tags=["health"])


class Health(BaseModel):
    """How the server is."""

    status: str
    version: str


@router.get("/healthz")
async def get_health(request: Request) -> Health:
    """The process is alive."""
    return Health(status="ok", version=request.app.version)


@router.get("/readyz")
async def get_readiness(request: Request, database: DatabaseDep) -> Health:
    """The process can serve: the database answers; else 503."""
    async with database.session() as session:
        await session.execute(text("SELECT 1"))
    return Health(status="ready", version=request.app.version)
