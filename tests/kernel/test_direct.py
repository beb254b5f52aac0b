"""Hot paths and a database that goes away and comes back."""

import asyncio
from contextlib import ExitStack
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from app.auth.service import create_token
from app.embedded.postgres import PostgresServer
from app.embedded.sockets import socket_folder
from app.kernel.config import Settings
from app.main import create_app
from tests.conftest import FAST_SETTINGS, migrated, running

pytestmark = pytest.mark.anyio

_BACK_SECONDS = 60.0


@pytest.fixture
async def server(tmp_path: Path) -> PostgresServer:
    server = PostgresServer(
        data_dir=tmp_path / "postgres",
        socket_dir=socket_folder(tmp_path) / "postgres",
        settings=FAST_SETTINGS,
    )
    await asyncio.to_thread(server.prepare)
    return server


@pytest.mark.fault(16)
async def test_requests_go_on_after_the_database_was_restarted(
    server: PostgresServer, broker_url: str, tmp_path: Path
) -> None:
    app = create_app(
        Settings(
            data_dir=tmp_path / "data",
            database_url=SecretStr(server.url()),
            broker_url=SecretStr(broker_url),
            allowed_hosts=["*"],
        )
    )
    with ExitStack() as first:
        first.enter_context(running(server.spec(), is_ready=server.is_ready_now))
        await asyncio.to_thread(migrated, server.url())
        async with app.router.lifespan_context(app):
            async with app.state.database.session() as session:
                _, secret = await create_token(session, name="test")
            async with httpx2.AsyncClient(
                transport=httpx2.ASGITransport(app),
                base_url="http://api",
                headers={"Authorization": f"Bearer {secret}"},
            ) as client:
                made = await client.put("/v1/workspaces/kept", json={})
                assert made.status_code == 201
                several = [client.get("/v1/workspaces/kept/runs") for _ in range(8)]
                assert {a.status_code for a in await asyncio.gather(*several)} == {200}

                first.close()
                away = await client.get("/v1/workspaces/kept/runs")
                assert (away.status_code, away.json()["retryable"]) == (503, True)
                assert away.headers["retry-after"]

                with running(server.spec(), is_ready=server.is_ready_now):
                    async with asyncio.timeout(_BACK_SECONDS):
                        while (await client.get("/v1/workspaces/kept/runs")).status_code == 503:
                            await asyncio.sleep(0.05)
                    # None of the connections of before is left to stumble over.
                    several = [client.get("/v1/workspaces/kept/runs") for _ in range(30)]
                    assert {a.status_code for a in await asyncio.gather(*several)} == {200}
