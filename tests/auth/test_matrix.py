"""Who may do what: every operation of the document, for every kind of caller."""

import re
import uuid
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.routing import iter_route_contexts

from app.auth.needs import need_of
from app.auth.permissions import BUILT_IN_ROLES, WORKSPACE_PERMISSIONS
from app.auth.principal import Principal
from tests.live_api import LiveApi, live_api
from tests.people import bare_client, make_user

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

DIGEST = "0" * 64
CREDENTIAL_IN_THE_ADDRESS = ("/discovery/{token}", "/artifact/signed/{token}/")
OF_EVERY_USER = {"account.read", "account.write", "workspaces.create", "any-credential"}
READING_POSTS = {
    "find_missing_blobs",
    "replay_sweep",
    "get_mlflow_latest_versions",
    "search_mlflow_datasets",
    "search_mlflow_experiments",
    "search_mlflow_logged_models",
    "search_mlflow_runs",
    "get_mlflow_metric_histories",
    "wait_for_azureml_metrics",
    "refuse_mlflow_call",
    "refuse_mlflow_parts",
    "query_azureml_runs",
    "list_azureml_metrics",
    "get_azureml_metric",
}
"""All that is not GET and yet changes nothing, so that a reader may do it."""


BODIES: dict[str, dict[str, Any]] = {
    # These find out with the work, in one statement, whether the run is the caller's.
    "log_mlflow_metric": {"run_id": "run_x", "key": "loss", "value": 1.0, "timestamp": 1},
    "log_mlflow_batch": {"run_id": "run_x", "metrics": [], "params": [], "tags": []},
}


@dataclass(frozen=True)
class Operation:
    """One operation of the document, or a route that the document leaves out."""

    id: str
    method: str
    path: str
    permission: str
    run: bool
    deployment_key: bool

    @property
    def in_workspace(self) -> bool:
        return "{workspace}" in self.path

    def address(self, workspace: str) -> str:
        """Return an address that names the workspace, and nothing that is there in it."""
        values = {"workspace": workspace, "sha256": DIGEST, "image_hash": DIGEST, "version": "1"}
        return re.sub(
            r"\{(\w+)(?::path)?\}", lambda found: values.get(found[1], "nothing-there"), self.path
        )


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        # So that nobody's DELETE of the workspace succeeds.
        (await api.client.put("experiments/stays", json={})).raise_for_status()
        yield api


def documented(api: LiveApi) -> Iterator[Operation]:
    """Yield what the published document lists."""
    for path, item in api.app.openapi()["paths"].items():
        for method, operation in item.items():
            yield Operation(
                id=operation["operationId"],
                method=method.upper(),
                path=path,
                permission=operation["x-permission"],
                run=operation.get("x-run-token", False),
                deployment_key=operation.get("x-deployment-key", False),
            )


def routed(api: LiveApi) -> Iterator[Operation]:
    """Yield every route there is, those among them that the document leaves out."""
    for route in iter_route_contexts(api.app.routes):
        need = need_of(route.endpoint)
        if str(route.path).startswith(CREDENTIAL_IN_THE_ADDRESS):
            continue
        for method in route.methods or () if need else ():
            assert need is not None
            yield Operation(
                id=str(route.name),
                method=method,
                path=str(route.path),
                permission=need.permission,
                run=need.run,
                deployment_key=need.deployment_key,
            )


async def send(client: httpx2.AsyncClient, operation: Operation, workspace: str) -> Any:
    """Return status, code and missing permission of the answer to a call without contents."""
    body = BODIES.get(operation.id)
    answer = await client.request(operation.method, operation.address(workspace), json=body)
    problem = {}
    if answer.headers.get("content-type") == "application/problem+json" and answer.content:
        problem = answer.json()
    return answer.status_code, problem.get("code", ""), problem.get("permission", "")


def expected(operation: Operation, permissions: frozenset[str], *, is_admin: bool) -> str:
    """Return what a user with these permissions in the workspace is answered."""
    need = operation.permission
    if need == "anybody" or need in OF_EVERY_USER:
        return "allowed"
    if need == "node":
        return "refused"
    if need in WORKSPACE_PERMISSIONS:
        if not permissions:
            return "hidden"
        return "allowed" if need in permissions else "refused"
    return "allowed" if is_admin else "refused"


def check(operation: Operation, who: str, wanted: str, found: Any) -> None:
    """Compare an answer with what is expected."""
    status, code, missing = found
    told = (who, operation.id, operation.method, operation.path, found)
    assert status < 500 or status == 501, told
    if wanted == "allowed":
        assert status not in (401, 403), told
    elif wanted == "anonymous":
        assert status == 401, told
    elif wanted == "hidden":
        assert status == 404, told
        # MLflow's clients are told in their own words.
        assert code in ("not_found", "") or "mlflow" in operation.path, told
    else:
        assert status == 403, told
        if operation.permission != "node" and who != "machine" and code:
            assert missing == operation.permission, told


@pytest.mark.parametrize("role", ["other-tenant", *BUILT_IN_ROLES, "admin"])
async def test_users(api: LiveApi, role: str) -> None:
    permissions = BUILT_IN_ROLES.get(role, frozenset())
    is_admin = role == "admin"
    if is_admin:
        permissions = WORKSPACE_PERMISSIONS
        token = api.client.headers["authorization"].removeprefix("Bearer ")
    else:
        _, token = await make_user(api, role=role if permissions else "")
    async with bare_client(api, token) as client:
        for operation in documented(api):
            wanted = expected(operation, permissions, is_admin=is_admin)
            check(operation, role, wanted, await send(client, operation, api.workspace))


async def test_anonymous_callers(api: LiveApi) -> None:
    async with bare_client(api) as client:
        for operation in routed(api):
            wanted = "allowed" if operation.permission == "anybody" else "anonymous"
            check(operation, "anonymous", wanted, await send(client, operation, api.workspace))


async def test_what_the_document_leaves_out_is_guarded_as_well(api: LiveApi) -> None:
    _, other = await make_user(api)
    _, reader = await make_user(api, role="reader")
    listed = {(operation.path, operation.method) for operation in documented(api)}
    hidden = [one for one in routed(api) if (one.path, one.method) not in listed]
    assert len(hidden) > 150
    async with bare_client(api, other) as client:
        for operation in hidden:
            wanted = expected(operation, frozenset(), is_admin=False)
            check(operation, "other", wanted, await send(client, operation, api.workspace))
    async with bare_client(api, reader) as client:
        for operation in hidden:
            wanted = expected(operation, BUILT_IN_ROLES["reader"], is_admin=False)
            check(operation, "reader", wanted, await send(client, operation, api.workspace))


async def test_a_reader_changes_nothing(api: LiveApi) -> None:
    own = OF_EVERY_USER | BUILT_IN_ROLES["reader"]
    for operation in routed(api):
        changes = operation.method not in ("GET", "HEAD")
        if operation.id == "send_mlflow_part":
            assert operation.permission == "any-credential"  # and refused without that upload's
        elif changes and operation.in_workspace and operation.id not in READING_POSTS:
            assert operation.permission not in own, operation
        if not changes and operation.permission in WORKSPACE_PERMISSIONS:
            assert operation.permission.endswith((".read", ".keys")), operation


@pytest.mark.parametrize("place", ["same-workspace", "other-workspace"])
async def test_the_token_of_another_run(api: LiveApi, place: str) -> None:
    row = (await api.client.get(f"http://api/v1/workspaces/{api.workspace}")).json()
    own_workspace = place == "same-workspace"
    principal = Principal(
        kind="run",
        id=f"run_{uuid.uuid4().hex}",
        name="run",
        workspace_id=row["id"] if own_workspace else "ws_other",
        attempt=1,
    )
    async with bare_client(api, api.app.state.signer.issue(principal)) as client:
        for operation in routed(api):
            found = await send(client, operation, api.workspace)
            if operation.permission in ("anybody", "any-credential"):
                wanted = "allowed"
            elif not operation.run:
                wanted = "refused"
            elif "{run_id}" in operation.path or not own_workspace:
                assert found[0] in (403, 404) or not operation.in_workspace, (operation, found)
                continue
            else:
                continue  # what of its workspace a run may touch, the tests of each area say
            check(operation, "machine", wanted, found)


async def test_keys_of_deployments(api: LiveApi) -> None:
    async with bare_client(api, "twk_of-another-deployment") as client:
        for operation in routed(api):
            found = await send(client, operation, api.workspace)
            if operation.permission in ("anybody", "any-credential"):
                check(operation, "machine", "allowed" if found[0] != 403 else "refused", found)
            elif operation.deployment_key:
                assert found[0] in (401, 403), (operation, found)
            else:
                check(operation, "machine", "refused", found)
