"""Roles, groups, scopes of tokens: what they give, at once, and what they never give."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.live_api import LiveApi, live_api
from tests.made_runs import make_runs
from tests.people import bare_client, make_user, somebody

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


def unique(prefix: str) -> str:
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


async def test_who_creates_a_workspace_owns_it_and_others_do_not_see_it(api: LiveApi) -> None:
    name = unique("ws")
    async with somebody(api) as owner, somebody(api) as other:
        assert (await owner.put(f"/v1/workspaces/{name}")).status_code == 201
        assert (await owner.put(f"/v1/workspaces/{name}/experiments/mine")).status_code == 201
        listed = (await owner.get("/v1/workspaces")).json()["items"]
        assert [row["name"] for row in listed] == [name]

        assert (await other.get("/v1/workspaces")).json()["items"] == []
        hidden = await other.get(f"/v1/workspaces/{name}")
        absent = await other.get(f"/v1/workspaces/{unique('ws')}")
        assert (hidden.status_code, hidden.json()["code"]) == (404, absent.json()["code"])
        for method in ("PUT", "PATCH", "DELETE"):
            answer = await other.request(method, f"/v1/workspaces/{name}", json={})
            assert answer.status_code == 404
        search = await other.post(
            f"/v1/workspaces/{name}/mlflow/api/2.0/mlflow/experiments/search", json={}
        )
        assert search.status_code == 404


async def test_a_role_counts_at_once_and_so_does_taking_it_away(api: LiveApi) -> None:
    name, token = await make_user(api)
    runs = f"/v1/workspaces/{api.workspace}/runs"
    async with bare_client(api, token) as client:
        assert (await client.get(runs)).status_code == 404
        given = await api.client.post("role-assignments", json={"role": "reader", "user": name})
        again = await api.client.post("role-assignments", json={"role": "reader", "user": name})
        assert (again.status_code, again.json()) == (200, given.json())
        assert (await client.get(runs)).status_code == 200
        refused = await client.post(runs, json={})
        assert refused.status_code == 403
        assert refused.json()["code"] == "permission_missing"
        assert refused.json()["permission"] == "runs.write"
        await api.client.delete(f"role-assignments/{given.json()['id']}")
        assert (await client.get(runs)).status_code == 404


async def test_a_group_gives_its_roles_to_its_members(api: LiveApi) -> None:
    name, token = await make_user(api)
    group = unique("team")
    await api.client.post("http://api/v1/groups", json={"name": group})
    await api.client.post("role-assignments", json={"role": "data-scientist", "group": group})
    member = f"http://api/v1/groups/{group}/members/{name}"
    address = f"/v1/workspaces/{api.workspace}/experiments/of-the-team"
    async with bare_client(api, token) as client:
        assert (await client.put(address)).status_code == 404
        assert (await api.client.put(member)).status_code == 204
        assert (await client.put(address)).status_code == 201
        members = (await api.client.get(f"http://api/v1/groups/{group}/members")).json()["items"]
        assert [row["name"] for row in members] == [name]
        assert (await api.client.delete(member)).status_code == 204
        assert (await client.put(address)).status_code == 404


async def test_a_custom_role_gives_what_it_names(api: LiveApi) -> None:
    body = {"permissions": ["workspace.read", "deployments.score"]}
    assert (await api.client.put("roles/scorer", json=body)).status_code == 201
    async with somebody(api, role="scorer") as client:
        mine = f"/v1/workspaces/{api.workspace}"
        assert (await client.get(mine)).status_code == 200
        assert (await client.get("/v1/workspaces")).json()["items"][0]["name"] == api.workspace
        assert (await client.get(f"{mine}/runs")).json()["permission"] == "runs.read"
        scored = await client.post(f"{mine}/deployments/none/score", json={})
        assert scored.json()["code"] == "deployment_not_found"
        assert (await api.client.delete("roles/scorer")).json()["code"] == "role_in_use"
        wider = {"permissions": ["workspace.read", "runs.read"]}
        unread = await api.client.put("roles/scorer", json=wider)
        assert (unread.status_code, unread.json()["code"]) == (428, "precondition_required")
        assert (await api.client.put("roles/scorer", json=body)).status_code == 200
        assert (await client.get(f"{mine}/runs")).json()["permission"] == "runs.read"
        etag = (await api.client.get("roles/scorer")).headers["etag"]
        read = await api.client.put("roles/scorer", json=wider, headers={"If-Match": etag})
        assert read.status_code == 200, read.text
        assert (await client.get(f"{mine}/runs")).status_code == 200


@pytest.mark.parametrize(
    ("name", "permissions", "status"),
    [
        ("owner", ["runs.read"], 409),
        ("x", [], 422),
        ("x", ["runs.everything"], 422),
        ("x", ["platform.read"], 422),
        ("x", "runs.read", 422),
    ],
)
async def test_roles_that_cannot_be(
    api: LiveApi, name: str, permissions: object, status: int
) -> None:
    answer = await api.client.put(f"roles/{name}", json={"permissions": permissions})
    assert answer.status_code == status, answer.text


async def test_nobody_gives_what_they_do_not_have(api: LiveApi) -> None:
    body = {"permissions": ["workspace.read", "roles.read", "roles.write", "runs.read"]}
    await api.client.put("roles/clerk", json=body)
    name, token = await make_user(api, role="clerk")
    mine = f"/v1/workspaces/{api.workspace}"
    async with bare_client(api, token) as client:
        higher = await client.post(f"{mine}/role-assignments", json={"role": "owner", "user": name})
        assert (higher.status_code, higher.json()["code"]) == (403, "beyond_own_permissions")
        wider = await client.put(f"{mine}/roles/clerk", json={"permissions": ["secrets.write"]})
        assert wider.json()["missing"] == ["secrets.write"]
        owners = (await client.get(f"{mine}/role-assignments")).json()["items"]
        owner = next(row for row in owners if row["role"] == "owner")
        taken = await client.delete(f"{mine}/role-assignments/{owner['id']}")
        assert taken.json()["code"] == "beyond_own_permissions"
        same = await client.put(f"{mine}/roles/looker", json={"permissions": ["runs.read"]})
        assert same.status_code == 201


async def test_a_workspace_keeps_an_owner(api: LiveApi) -> None:
    for _ in range(2):
        name, _ = await make_user(api)
        await api.client.post("role-assignments", json={"role": "owner", "user": name})
    rows = (await api.client.get("role-assignments")).json()["items"]
    addresses = [f"role-assignments/{row['id']}" for row in rows if row["role"] == "owner"]
    answers = await asyncio.gather(*(api.client.delete(address) for address in addresses))
    assert sorted(answer.status_code for answer in answers) == [204, 204, 409]


async def test_what_lies_in_another_workspace_is_not_there(api: LiveApi) -> None:
    (run,) = await make_runs(api, 1)
    snapshot = (await api.client.get(f"runs/{run}")).json()["snapshot_id"]
    upload = (await api.client.post("uploads", json={"size_bytes": 3})).json()["id"]
    assignment = (await api.client.get("role-assignments")).json()["items"][0]["id"]
    name = unique("ws")
    async with somebody(api) as other:
        await other.put(f"/v1/workspaces/{name}")
        for path in (
            f"runs/{run}",
            f"runs/{run}/logs",
            f"runs/{run}/metrics",
            f"runs/{run}/files",
            f"snapshots/{snapshot}",
            f"uploads/{upload}",
            f"role-assignments/{assignment}",
        ):
            answer = await other.get(f"/v1/workspaces/{name}/{path}")
            assert answer.status_code == 404, path
        found = await other.get(f"/v1/workspaces/{name}/metrics/compare", params={"run": run})
        assert run not in str(found.json().get("items", ""))
        gone = await other.delete(f"/v1/workspaces/{name}/role-assignments/{assignment}")
        assert gone.status_code == 204
        for method, path in (
            ("DELETE", f"runs/{run}"),
            ("POST", f"runs/{run}/cancel"),
            ("DELETE", f"uploads/{upload}"),
            ("DELETE", f"snapshots/{snapshot}"),
        ):
            answer = await other.request(method, f"/v1/workspaces/{name}/{path}")
            assert answer.status_code == 404, path
    assert (await api.client.get(f"role-assignments/{assignment}")).status_code == 200


async def test_a_token_is_good_for_what_it_names_only(api: LiveApi) -> None:
    second = unique("ws")
    await api.client.put(f"http://api/v1/workspaces/{second}")
    body = {"name": "ci", "permissions": ["runs.read"], "workspaces": [api.workspace]}
    made = (await api.client.post("http://api/v1/tokens", json=body)).json()
    assert made["token"].startswith(made["prefix"])
    assert made["permissions"] == ["runs.read"]
    async with bare_client(api, made["token"]) as client:
        mine = f"/v1/workspaces/{api.workspace}"
        assert (await client.get(f"{mine}/runs")).status_code == 200
        assert (await client.put(f"{mine}/experiments/x")).json()["permission"] == (
            "experiments.write"
        )
        assert (await client.get(f"/v1/workspaces/{second}/runs")).status_code == 404
        assert (await client.get("/v1/users")).status_code == 403
        assert (await client.get("/v1/me")).json()["permissions"] == ["runs.read"]
        assert (await client.post("/v1/tokens", json={"name": "more"})).status_code == 403
        assert (await client.post("/v1/workspaces", json={"name": unique("ws")})).status_code == 403
    narrow = {"name": "ci", "permissions": ["account.write", "account.read"]}
    made = (await api.client.post("http://api/v1/tokens", json=narrow)).json()
    async with bare_client(api, made["token"]) as client:
        more = await client.post("/v1/tokens", json={"name": "more"})
        assert more.status_code == 403
        assert (await client.get("/v1/workspaces")).json()["items"] == []


async def test_a_token_for_a_workspace_that_is_not_to_be_seen_is_refused(api: LiveApi) -> None:
    async with somebody(api) as client:
        body = {"name": "x", "workspaces": [api.workspace]}
        answer = await client.post("/v1/tokens", json=body)
        assert answer.json()["errors"][0]["pointer"] == "/workspaces/0"


async def test_tokens_are_their_users_own(api: LiveApi) -> None:
    name, token = await make_user(api)
    async with bare_client(api, token) as client, somebody(api) as other:
        mine = (await client.get("/v1/tokens")).json()["items"]
        assert [row["name"] for row in mine] == ["test"]
        assert mine[0]["last_used_at"] is not None
        address = f"/v1/tokens/{mine[0]['id']}"
        assert (await other.delete(address)).status_code == 404
        assert (await other.get("/v1/tokens", params={"user": name})).status_code == 403
        seen = await api.client.get("http://api/v1/tokens", params={"user": name})
        assert [row["id"] for row in seen.json()["items"]] == [mine[0]["id"]]
        assert (await api.client.delete(f"http://api{address}")).status_code == 204
        assert (await client.get("/v1/me")).status_code == 401


async def test_a_disabled_or_deleted_user_is_refused_at_once(api: LiveApi) -> None:
    name, token = await make_user(api)
    address = f"http://api/v1/users/{name}"
    async with bare_client(api, token) as client:
        await api.client.patch(address, json={"disabled": True})
        assert (await client.get("/v1/me")).status_code == 401
        await api.client.patch(address, json={"disabled": False})
        assert (await client.get("/v1/me")).json()["name"] == name
        assert (await api.client.delete(address)).status_code == 204
        assert (await client.get("/v1/me")).status_code == 401


async def test_the_installations_administrator_stays(api: LiveApi) -> None:
    address = "http://api/v1/users/admin"
    for body in ({"disabled": True}, {"is_admin": False}):
        answer = await api.client.patch(address, json=body)
        assert answer.json()["code"] == "administrator_needed"
    assert (await api.client.delete(address)).status_code == 409


async def test_service_accounts_have_tokens_and_roles(api: LiveApi) -> None:
    name = unique("bot")
    made = await api.client.post("http://api/v1/service-accounts", json={"name": name})
    assert made.json()["kind"] == "service_account"
    taken = await api.client.post("http://api/v1/users", json={"name": name})
    assert taken.json()["code"] == "name_taken"
    token = await api.client.post("http://api/v1/tokens", json={"name": "ci", "user": name})
    await api.client.post("role-assignments", json={"role": "data-scientist", "user": name})
    async with bare_client(api, token.json()["token"]) as client:
        put = await client.put(f"/v1/workspaces/{api.workspace}/experiments/by-a-bot")
        assert put.status_code == 201
    assert (await api.client.get(f"http://api/v1/users/{name}")).status_code == 404


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("users", {"name": "a b"}),
        ("users", {"name": "ünï"}),
        ("users", {"name": "x" * 129}),
        ("users", {"name": "x", "password": "y"}),
        ("groups", {"name": ""}),
        ("service-accounts", {"name": "x", "is_admin": True}),
        ("tokens", {"name": "x", "permissions": []}),
        ("tokens", {"name": "x", "permissions": ["everything"]}),
    ],
)
async def test_garbage_is_refused(api: LiveApi, path: str, body: dict[str, object]) -> None:
    answer = await api.client.post(f"http://api/v1/{path}", json=body)
    assert answer.status_code == 422, answer.text


@pytest.mark.parametrize(
    "body", [{"role": "reader"}, {"role": "reader", "user": "a", "group": "b"}]
)
async def test_an_assignment_has_one_subject(api: LiveApi, body: dict[str, str]) -> None:
    assert (await api.client.post("role-assignments", json=body)).status_code == 422
