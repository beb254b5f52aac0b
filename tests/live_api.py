"""The application in this process, on a real database, with the reconcilers a test needs."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
from fastapi import FastAPI
from pydantic import SecretStr

from app.auth.service import create_token
from app.kernel.config import Settings
from app.kernel.db import Database
from app.main import create_app
from app.storage.objects import ObjectStore
from workers.engine import Engine
from workers.reconcile_dataset import DatasetReconciler
from workers.reconciler import Reconciler


@dataclass(frozen=True)
class LiveApi:
    """A running application and a client with an administrator's token.

    Attributes:
        client: its base address is a workspace of its own.
    """

    app: FastAPI
    client: httpx2.AsyncClient
    workspace: str

    @property
    def database(self) -> Database:
        database: Database = self.app.state.database
        return database

    @property
    def objects(self) -> ObjectStore:
        objects: ObjectStore = self.app.state.objects
        return objects

    @property
    def settings(self) -> Settings:
        settings: Settings = self.app.state.settings
        return settings


@asynccontextmanager
async def live_api(
    data_dir: Path,
    postgres_url: str,
    broker_url: str,
    *,
    reconcilers: Callable[[FastAPI], Sequence[Reconciler]] = lambda app: [],
    **settings: Any,
) -> AsyncIterator[LiveApi]:
    """Run the application for the block, with a workspace of its own."""
    app = create_app(
        Settings(
            data_dir=data_dir,
            database_url=SecretStr(postgres_url),
            broker_url=SecretStr(broker_url),
            **{"allowed_hosts": ["*"], **settings},
        )
    )
    name = f"ws-{uuid.uuid4().hex[:12]}"
    async with app.router.lifespan_context(app):
        async with app.state.database.session() as session:
            _, secret = await create_token(session, name="test")
        async with (
            _reconciling(app.state.database, reconcilers(app)),
            httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app),
                base_url=f"http://api/v1/workspaces/{name}",
                headers={"Authorization": f"Bearer {secret}"},
                timeout=60,
            ) as client,
        ):
            (await client.put("http://api/v1/workspaces/" + name)).raise_for_status()
            yield LiveApi(app=app, client=client, workspace=name)


@asynccontextmanager
async def _reconciling(
    database: Database, reconcilers: Sequence[Reconciler]
) -> AsyncIterator[None]:
    if not reconcilers:
        yield
        return
    engine = Engine(database, reconcilers, lease_seconds=10, poll_seconds=0.05)
    polling = asyncio.create_task(engine.poll_forever())
    try:
        yield
    finally:
        polling.cancel()
        with suppress(asyncio.CancelledError):
            await polling
        await engine.close()


def dataset_reconcilers(app: FastAPI) -> Sequence[Reconciler]:
    """The reconciler of dataset registrations."""
    state = app.state
    return [DatasetReconciler(state.database, state.objects, state.settings)]
