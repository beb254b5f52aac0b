"""Users of a test, with names of their own and clients that send their tokens."""

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx2

from tests.live_api import LiveApi


def bare_client(api: LiveApi, token: str = "") -> httpx2.AsyncClient:
    """Return a client of the whole API with this token, or with none."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx2.ASGITransport(api.app, raise_app_exceptions=False)
    return httpx2.AsyncClient(
        transport=transport, base_url="http://api", headers=headers, timeout=60
    )


async def make_user(api: LiveApi, *, role: str = "") -> tuple[str, str]:
    """Make a user, with a role in the test's workspace; the name and a token."""
    name = f"user-{uuid.uuid4().hex[:12]}"
    made = await api.client.post("http://api/v1/users", json={"name": name})
    assert made.status_code == 201, made.text
    if role:
        given = await api.client.post("role-assignments", json={"role": role, "user": name})
        assert given.status_code == 201, given.text
    token = await api.client.post("http://api/v1/tokens", json={"name": "test", "user": name})
    assert token.status_code == 201, token.text
    return name, token.json()["token"]


@asynccontextmanager
async def somebody(api: LiveApi, *, role: str = "") -> AsyncIterator[httpx2.AsyncClient]:
    """A client of a new user with a role in the test's workspace."""
    _, token = await make_user(api, role=role)
    async with bare_client(api, token) as client:
        yield client
