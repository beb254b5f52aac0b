"""Everything refuses without a credential, and with the wrong kind of one."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest
from fastapi.routing import iter_route_contexts

from app.auth.principal import Principal
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio

OPEN = {"/healthz", "/readyz", "/openapi.json", "/openapi-3.0.json"}
SIGN_IN = {"/v1/auth/oidc", "/v1/auth/login", "/v1/auth/callback", "/v1/auth/token"}
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


def all_paths(api: LiveApi) -> set[str]:
    """Return the paths of all routes, also of those that the document leaves out."""
    return {route.path for route in iter_route_contexts(api.app.routes) if route.path}


def anonymous(api: LiveApi) -> httpx2.AsyncClient:
    transport = httpx2.ASGITransport(api.app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://api")


async def test_every_route_and_method_refuses_the_anonymous(api: LiveApi) -> None:
    paths = all_paths(api) | {"/nowhere", "/metrics", "/docs", "/redoc", "/static/x"}
    assert len(paths) > 150
    async with anonymous(api) as client:
        for path in sorted(paths - OPEN - SIGN_IN):
            address = path.replace("{", "").replace("}", "").replace(":path", "")
            for method in METHODS:
                answer = await client.request(method, address)
                assert answer.status_code == 401, (method, path, answer.status_code)


async def test_health_and_the_document_are_open(api: LiveApi) -> None:
    async with anonymous(api) as client:
        for path in OPEN:
            assert (await client.get(path)).status_code == 200


async def test_an_unknown_or_altered_token_is_refused(api: LiveApi) -> None:
    principal = Principal(kind="run", id="run_x", name="run", workspace_id="ws")
    signed = api.app.state.signer.issue(principal)
    async with anonymous(api) as client:
        for token in ("twt_wrong", "", "nonsense", signed[:-4] + "AAAA"):
            headers = {"Authorization": f"Bearer {token}"}
            answer = await client.get("/v1/me", headers=headers)
            assert answer.status_code == 401
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_revoked_token_is_refused_at_once(api: LiveApi) -> None:
    made = (await api.client.post("http://api/v1/tokens", json={"name": "ci"})).json()
    headers = {"Authorization": f"Bearer {made['token']}"}
    async with anonymous(api) as client:
        assert (await client.get("/v1/me", headers=headers)).json()["token_id"] == made["id"]
        await api.client.delete(f"http://api/v1/tokens/{made['id']}")
        assert (await client.get("/v1/me", headers=headers)).status_code == 401


async def test_a_secret_is_shown_once_and_stored_hashed(api: LiveApi) -> None:
    made = (await api.client.post("http://api/v1/tokens", json={"name": "once"})).json()
    listed = (await api.client.get("http://api/v1/tokens")).text
    assert made["token"] not in listed
    async with api.database.engine.connect() as connection:
        rows = await connection.exec_driver_sql("SELECT t::text FROM tokens t")
        assert made["token"] not in "".join(row[0] for row in rows)


async def test_basic_authentication_with_an_empty_user_works(api: LiveApi) -> None:
    token = api.client.headers["authorization"].removeprefix("Bearer ")
    async with anonymous(api) as client:
        assert (await client.get("/v1/me", auth=("", token))).status_code == 200


async def test_runs_and_nodes_cannot_use_the_routes_of_users(api: LiveApi) -> None:
    signer = api.app.state.signer
    for kind in ("run", "node"):
        principal = Principal(kind=kind, id="run_x", name=kind, workspace_id="ws_other")
        headers = {"Authorization": f"Bearer {signer.issue(principal)}"}
        async with anonymous(api) as client:
            assert (await client.get("/v1/tokens", headers=headers)).status_code == 403
            created = await client.post("/v1/workspaces", headers=headers, json={"name": "evil"})
            assert created.status_code == 403
            own = await client.get(f"/v1/workspaces/{api.workspace}", headers=headers)
            assert own.status_code == (404 if kind == "run" else 403)


async def test_a_deployment_key_or_a_discovery_token_opens_no_other_route(api: LiveApi) -> None:
    principal = Principal(kind="discovery", id="run_x", name="discovery")
    paths = all_paths(api) - OPEN
    async with anonymous(api) as client:
        for token in ("twk_made_up", api.app.state.signer.issue(principal)):
            headers = {"Authorization": f"Bearer {token}"}
            for path in sorted(paths - {"/v1/me"}):
                address = path.replace("{workspace}", api.workspace)
                address = address.replace("{", "").replace("}", "").replace(":path", "")
                for method in ("GET", "POST", "PUT", "PATCH", "DELETE"):
                    answer = await client.request(method, address, headers=headers)
                    assert 400 <= answer.status_code < 500, (method, path, answer.text)


async def test_foreign_hosts_and_origins_are_refused(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        headers = {"Origin": "http://evil.example"}
        assert (await api.client.get("http://api/v1/me", headers=headers)).status_code == 403
        own = {"Origin": "http://api"}
        assert (await api.client.get("http://api/v1/me", headers=own)).status_code == 200


async def test_problems_say_what_is_wrong_and_where(api: LiveApi) -> None:
    answer = await api.client.post("http://api/v1/workspaces", json={"name": "a b", "colour": 1})
    problem = answer.json()
    assert answer.status_code == 422
    assert {field["pointer"] for field in problem["errors"]} == {"/name", "/colour"}
    assert problem["code"] == "invalid"
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert answer.text.endswith("\n")


@pytest.mark.parametrize(
    ("method", "path", "content", "content_type", "status"),
    [
        ("GET", "/v1/nothing", b"", "", 404),
        ("POST", "/healthz", b"", "", 405),
        ("POST", "/v1/workspaces", b"{broken", "application/json", 400),
        ("POST", "/v1/workspaces", b'{"name":"x1"}', "text/plain", 415),
        ("POST", "/v1/workspaces", b"[1]", "application/json", 422),
        ("GET", "/v1/workspaces?page_token=zzz", b"", "", 400),
        ("GET", "/v1/workspaces?page_size=0", b"", "", 422),
        ("GET", "/v1/workspaces/nobody", b"", "", 404),
    ],
)
async def test_every_error_is_a_problem_document(
    api: LiveApi, method: str, path: str, content: bytes, content_type: str, status: int
) -> None:
    headers = {"Content-Type": content_type} if content_type else {}
    answer = await api.client.request(method, f"http://api{path}", content=content, headers=headers)
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]
