"""Rules of the contract, held against every operation that the document names."""

import json
from collections.abc import AsyncIterator
from datetime import date
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi import FastAPI

from app.kernel.answers import JsonAnswers
from app.kernel.deprecation import deprecated, install_deprecations
from app.openapi.document import operations
from app.tables.planning import Quota
from tests.contract.things import make_things
from tests.databases import own_database
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio

SWITCHED_OFF = "/v1/auth/"
"""404 unless an operator has set it up."""


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    # In a database of its own: what runs of other tests cost grows from look to look.
    async with (
        own_database(postgres_url) as url,
        live_api(
            tmp_path, url, broker_url, trusted_proxies="*", datastore_folders=[tmp_path]
        ) as api,
    ):
        # The one thing of a workspace that is not there from the beginning.
        (await api.client.put("budget", json={"amount": 1000})).raise_for_status()
        yield api


def filled(path: str, api: LiveApi) -> str:
    """The path in the test's workspace; what else it names is not there."""
    path = path.replace("{workspace}", api.workspace).replace("{", "").replace("}", "")
    return f"http://api{path}"


def reads(api: LiveApi) -> list[str]:
    """The addresses of all that can be read without naming more than a workspace."""
    return [
        filled(path, api)
        for path, method, operation in operations(api.app.openapi())
        if method == "get"
        and not path.startswith(SWITCHED_OFF)
        and path.replace("{workspace}", "").count("{") == 0
        and "application/json" in operation["responses"].get("200", {}).get("content", {})
        and not any(_is_asked(parameter) for parameter in operation.get("parameters", []))
    ]


def _is_asked(parameter: dict[str, Any]) -> bool:
    return parameter.get("in") == "query" and bool(parameter.get("required"))


async def twice(api: LiveApi, address: str) -> tuple[httpx2.Response, httpx2.Response]:
    """Read it, and once more if it has changed."""
    whole = await api.client.get(address)
    known = {"If-None-Match": whole.headers.get("etag", "")}
    return whole, await api.client.get(address, headers=known)


async def test_every_read_is_conditional_and_has_a_head(api: LiveApi) -> None:
    addresses = reads(api)
    assert len(addresses) > 15
    for address in addresses:
        whole, same = await twice(api, address)
        if same.status_code == 200:
            # Changed in between: a token says in which minute it was used last.
            assert same.headers["etag"] != whole.headers["etag"], address
            whole, same = await twice(api, address)
        assert whole.status_code == 200, (address, whole.text)
        assert whole.content.endswith(b"\n")
        assert (same.status_code, same.content) == (304, b""), address
        other = await api.client.get(address, headers={"If-None-Match": '"other"'})
        assert other.status_code == 200, address
        head = await api.client.head(address)
        assert (head.status_code, head.content) == (200, b""), address
        assert head.headers["content-type"] == whole.headers["content-type"]


async def test_pretty_answers_are_indented(api: LiveApi) -> None:
    for address in reads(api):
        plain, pretty = await api.client.get(address), await api.client.get(address + "?pretty")
        assert pretty.json().keys() == plain.json().keys()
        assert pretty.text.startswith("{\n  "), address


async def test_a_method_that_is_not_there_is_answered_with_those_that_are(api: LiveApi) -> None:
    allowed: dict[str, set[str]] = {}
    for path, method, _ in operations(api.app.openapi()):
        allowed.setdefault(path, set()).add(method.upper())
    for path, methods in allowed.items():
        answer = await api.client.request("TRACE", filled(path, api))
        assert answer.status_code == 405, path
        assert answer.headers["content-type"] == "application/problem+json"
        found = set(answer.headers["allow"].split(", "))
        assert methods <= found, (path, found)
        assert ("HEAD" in found) == ("GET" in found or "HEAD" in methods)


async def test_what_is_not_there_is_a_problem(api: LiveApi) -> None:
    for path in ("/nowhere", "/v1/workspaces/", "/v1/me/"):
        answer = await api.client.get(f"http://api{path}")
        assert answer.status_code == 404, path
        assert answer.json()["request_id"] == answer.headers["x-request-id"]


async def test_addresses_begin_with_what_a_trusted_proxy_takes_off(api: LiveApi) -> None:
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-Prefix": "/trainwright"}
    name = f"{api.workspace}x"
    body = {"name": name}
    made = await api.client.post("http://api/v1/workspaces", json=body, headers=headers)
    assert made.headers["location"] == f"https://api/trainwright/v1/workspaces/{name}"
    for wrong in ("trainwright", "/a//b", "/a?b", "//evil.example"):
        body = {"name": f"{name}{len(wrong)}"}
        answer = await api.client.post(
            "http://api/v1/workspaces", json=body, headers={"X-Forwarded-Prefix": wrong}
        )
        assert answer.headers["location"] == f"http://api/v1/workspaces/{body['name']}"


async def test_a_deprecated_operation_says_so_everywhere() -> None:
    app = FastAPI()
    app.add_middleware(JsonAnswers)

    @app.get("/old")
    @deprecated(since=date(2026, 1, 1), sunset=date(2027, 1, 1), instead="/new")
    async def old() -> dict[str, Any]:
        return {}

    install_deprecations(app)
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://api") as client:
        answer = await client.get("/old")
    assert answer.headers["deprecation"] == "@1767225600"
    assert answer.headers["sunset"] == "Fri, 01 Jan 2027 00:00:00 GMT"
    assert answer.headers["link"] == '</new>; rel="successor-version"'
    assert app.openapi()["paths"]["/old"]["get"]["deprecated"] is True


async def test_parameters_that_are_not_there_are_named(api: LiveApi) -> None:
    tried = 0
    for path, method, _ in operations(api.app.openapi()):
        if path.startswith(SWITCHED_OFF) or method == "head":
            continue
        tried += 1
        address = filled(path, api) + "?pretty&no_such_thing=1"
        answer = await api.client.request(method, address)
        assert answer.status_code == 422, (method, path, answer.text)
        assert "query/no_such_thing" in {field["pointer"] for field in answer.json()["errors"]}
        assert "no_such_thing" in answer.json()["detail"]
    assert tried > 130
    foreign = await api.client.get("mlflow/api/2.0/mlflow/experiments/get-by-name?x=1")
    assert "no such parameter" not in foreign.text


async def test_a_trace_goes_on(api: LiveApi) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    parent = f"00-{trace}-00f067aa0ba902b7-01"
    answer = await api.client.get("http://api/v1/me", headers={"traceparent": parent})
    version, same, span, flags = answer.headers["traceparent"].split("-")
    assert (version, same, flags) == ("00", trace, "01")
    assert span != "00f067aa0ba902b7"
    assert len(span) == 16
    wrong = ("", "x", f"ff-{trace}-00f067aa0ba902b7-01", parent.upper(), "00-" + "0" * 32 + "-1-1")
    for bad in wrong:
        answer = await api.client.get("http://api/v1/me", headers={"traceparent": bad})
        assert (answer.status_code, answer.headers.get("traceparent")) == (200, None), bad


async def test_a_merge_patch_sets_and_removes_single_tags(api: LiveApi, tmp_path: Path) -> None:
    things = await make_things(api, tmp_path)
    patched = {
        path
        for path, method, operation in operations(api.app.openapi())
        if method == "patch" and "tags" in _fields(api, operation)
    }
    assert len(patched) >= 5
    merge = {"Content-Type": "application/merge-patch+json"}
    for path in patched:
        for patch, tags in (
            ({"tags": {"a": "1", "b": "2"}}, {"a": "1", "b": "2"}),
            ({"tags": {"a": None, "c": "3"}}, {"b": "2", "c": "3"}),
            ({"description": "said"}, {"b": "2", "c": "3"}),
        ):
            answer = await api.client.patch(
                things.address(path), content=json.dumps(patch), headers=merge
            )
            assert answer.status_code == 200, (path, answer.text)
            assert answer.json()["tags"] == tags, path
        assert answer.json()["description"] == "said"


def _fields(api: LiveApi, operation: dict[str, Any]) -> dict[str, Any]:
    schema = operation["requestBody"]["content"].get("application/merge-patch+json", {})
    name = schema.get("schema", {}).get("$ref", "").rpartition("/")[2]
    found: dict[str, Any] = api.app.openapi()["components"]["schemas"].get(name, {})
    return dict(found.get("properties", {}))


async def test_a_quota_goes_with_its_owner(api: LiveApi) -> None:
    name = f"{api.workspace}q"
    for path, owner in (("workspaces", {"name": name}), ("users", {"name": name})):
        (await api.client.post(f"http://api/v1/{path}", json=owner)).raise_for_status()
    for kind, path in (("workspace", "workspaces"), ("user", "users")):
        quota = await api.client.put(f"http://api/v1/quotas/{kind}/{name}", json={"runs": 1})
        assert quota.status_code == 201, quota.text
        gone = await api.client.delete(f"http://api/v1/{path}/{name}")
        assert gone.status_code == 204, gone.text
    listed = (await api.client.get("http://api/v1/quotas")).json()["items"]
    assert [quota for quota in listed if quota["owner"] == name] == []


async def test_a_quota_whose_owner_is_gone_says_so_and_can_be_deleted(api: LiveApi) -> None:
    gone = {"workspace": "ws_gone", "user": "gone"}
    async with api.database.session() as session:
        session.add_all(Quota(kind=kind, owner_id=owner, runs=1) for kind, owner in gone.items())
    here = f"http://api/v1/quotas/workspace/{api.workspace}"
    await api.client.put(here, json={"runs": 1})

    listed = (await api.client.get("http://api/v1/quotas")).json()["items"]
    found = {quota["owner"]: quota["is_owner_gone"] for quota in listed}
    assert {"ws_gone": True, "gone": True, api.workspace: False}.items() <= found.items()
    for kind, owner in gone.items():
        address = f"http://api/v1/quotas/{kind}/{owner}"
        shown = await api.client.get(address)
        assert shown.json()["is_owner_gone"] is True
        assert (await api.client.put(address, json={"runs": 2})).status_code == 404
        lifted = await api.client.delete(address, headers={"If-Match": shown.headers["ETag"]})
        assert lifted.status_code == 204, lifted.text
        assert (await api.client.get(address)).status_code == 404
        assert (await api.client.delete(address)).status_code == 204
    assert (await api.client.get(here)).json()["is_owner_gone"] is False
    listed = (await api.client.get("http://api/v1/quotas")).json()["items"]
    assert not {quota["owner"] for quota in listed} & set(gone.values())


async def test_the_id_of_a_workspace_that_is_there_names_no_quota(api: LiveApi) -> None:
    here = f"http://api/v1/quotas/workspace/{api.workspace}"
    await api.client.put(here, json={"runs": 1})
    workspace = (await api.client.get(f"http://api/v1/workspaces/{api.workspace}")).json()
    by_id = f"http://api/v1/quotas/workspace/{workspace['id']}"
    assert (await api.client.get(by_id)).status_code == 404
    await api.client.delete(by_id)
    assert (await api.client.get(here)).json()["runs"] == 1
