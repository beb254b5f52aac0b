"""Every route declares what it needs of its caller, and one that does not is refused."""

from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.requests import Request

from app.auth.audit import Note
from app.auth.needs import authorize, need_of
from app.auth.permissions import ALL_PERMISSIONS
from app.auth.principal import Principal
from app.kernel.config import Settings
from app.kernel.errors import Forbidden
from app.main import create_app

FOR_ANYBODY = {
    *("/healthz", "/readyz"),
    *("/v1/auth/oidc", "/v1/auth/login", "/v1/auth/callback", "/v1/auth/token"),
}
_TRACKING = "/v1/workspaces/{workspace}/mlflow"
_PARTS = "mlflow-artifacts/mpu/parts/{upload_id}/{number}"
FOR_ANY_CREDENTIAL = {
    *("/v1/me", "/discovery/{token}", "/artifact/signed/{token}/{path:path}"),
    *(f"{_TRACKING}/api/2.0/{_PARTS}", f"{_TRACKING}/ajax-api/2.0/{_PARTS}"),
}
"""Each looks at the credential itself."""
NOT_OF_THE_FRAMEWORK = {"/openapi.json", "/openapi-3.0.json"}
"""All that may be there without a declaration; the middleware knows it, and it says nothing."""


@pytest.fixture
def application(tmp_path: Path) -> FastAPI:
    """Return the application without anything behind it."""
    return create_app(Settings(data_dir=tmp_path))


def test_every_route_declares_its_permission(application: FastAPI) -> None:
    seen: dict[str, set[str]] = {"anybody": set(), "any-credential": set(), "node": set()}
    for route in iter_route_contexts(application.routes):
        path = str(route.path)
        if path in NOT_OF_THE_FRAMEWORK:
            continue
        need = need_of(route.endpoint)
        assert need is not None, f"{path}: {route.name} declares no permission; see @needs"
        if need.permission in seen:
            seen[need.permission].add(path)
        else:
            assert need.permission in ALL_PERMISSIONS
            in_workspace = "{workspace}" in path or need.permission.split(".")[0] in {
                *("account", "workspaces", "platform", "users", "audit"),
            }
            assert in_workspace, f"{path} is in no workspace, but needs {need.permission}"
    assert seen["anybody"] == FOR_ANYBODY
    assert seen["any-credential"] == FOR_ANY_CREDENTIAL
    assert all(path.startswith("/v1/node/") for path in seen["node"])


def test_every_operation_of_the_document_has_its_permission(application: FastAPI) -> None:
    document = application.openapi()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            assert operation["x-permission"], f"{method} {path}"


@pytest.mark.anyio
async def test_a_route_without_a_declaration_is_refused() -> None:
    async def forgotten() -> None:
        raise AssertionError("it ran")

    admin = Principal(kind="user", id="usr_admin", name="admin", is_admin=True)
    route = APIRoute("/forgotten", forgotten)
    scope = {
        "type": "http",
        "endpoint": route.endpoint,
        "audit": Note(),
        "principal": admin,
        "path_params": {},
    }
    with pytest.raises(Forbidden, match="declares no permission"):
        await authorize(Request(scope))
