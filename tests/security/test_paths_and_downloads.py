"""No spelling of a path leads anywhere else, and what is downloaded is never shown as a page."""

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from app.auth.principal import Principal
from tests.live_api import LiveApi, live_api
from tests.made_runs import make_request

pytestmark = pytest.mark.anyio

CANARY = "canary-outside-of-everything"
DOTS = ["..", "%2e%2e", "%252e%252e", ".%2e", "%c0%ae%c0%ae", "..%00", "..;", "．．", "..%20"]
SLASHES = ["/", "%2f", "%252f", "%5c", "\\", "%c0%af", "//", "/./", "%ef%bc%8f"]
PLACES = [
    "runs/{run}/files/{path}",
    "runs/{run}/files/outputs/{path}",
    "runs/{run}/logs?stream={path}",
    "blobs/{path}",
    "snapshots/{path}",
    "datasets/{path}/versions/1/files",
    "models/{path}/versions/1/files/x",
    "experiments/{path}",
    "secrets/{path}",
    "mlflow-artifacts/artifacts/{path}",
    "{path}",
]


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    (tmp_path / "outside.txt").write_text(CANARY)
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


async def test_no_spelling_of_a_path_leads_outside(api: LiveApi, tmp_path: Path) -> None:
    run = (await api.client.post("runs", json=await make_request(api))).json()["id"]
    base = str(api.client.base_url).rstrip("/")
    spellings = {
        slash.join([dots] * depth + [target])
        for dots, slash in itertools.product(DOTS, SLASHES)
        for depth, target in ((1, "outside.txt"), (6, quote(str(tmp_path / "outside.txt"))))
    }
    spellings |= {quote(str(tmp_path / "outside.txt")), f"file://{tmp_path}/outside.txt"}
    # Every spelling in some places, and some in every place.
    tried = [
        (place, path)
        for shift, place in enumerate(PLACES)
        for path in sorted(spellings)[shift % 4 :: 4]
    ]
    for place, path in tried:
        # As text: a client that normalises addresses is no attacker.
        address = f"{base}/{place.format(run=run, path=path)}"
        answer = await api.client.get(address)
        assert answer.status_code < 500, (address, answer.text)
        assert CANARY not in answer.text, address
        answer = await api.client.put(address, content=b"written by a stranger")
        # What is stored has that odd name, and lies under the hash of its bytes.
        assert answer.status_code < 500, (address, answer.text)
    assert (tmp_path / "outside.txt").read_text() == CANARY
    assert not list(tmp_path.glob("*stranger*"))


async def test_downloads_are_attachments_with_names_that_cannot_break_out(api: LiveApi) -> None:
    run = (await api.client.post("runs", json=await make_request(api))).json()["id"]
    names = ['a";x="b.html', "ünïcode.html", "a%0d%0ab", "a'b\\c", "x;filename*=evil", "<svg>.svg"]
    for name in names:
        address = f"runs/{run}/files/outputs/{quote(name, safe='')}"
        stored = await api.client.put(address, content=b"<script>alert(1)</script>")
        if stored.status_code == 422:
            continue
        assert stored.status_code == 201, stored.text
        answer = await api.client.get(address)
        header = answer.headers["content-disposition"]
        assert header == f"attachment; filename*=UTF-8''{quote(name, safe='')}"
        assert header.isascii()
        assert answer.headers["content-type"] == "application/octet-stream"
        assert_harmless(answer.headers)


async def test_every_answer_is_harmless_in_a_browser(api: LiveApi) -> None:
    for address in ("runs", "nowhere", "runs/%3Cscript%3E", "secrets/x", "http://api/healthz"):
        answer = await api.client.get(address)
        assert_harmless(answer.headers)
        assert answer.headers["content-type"].partition(";")[0] in (
            "application/json",
            "application/problem+json",
        )
    anonymous = await api.client.get("runs", headers={"Authorization": "Bearer x"})
    assert anonymous.status_code == 401
    assert_harmless(anonymous.headers)


def assert_harmless(headers: object) -> None:
    found = dict(headers)  # type: ignore[call-overload]
    assert found["x-content-type-options"] == "nosniff"
    assert "sandbox" in found["content-security-policy"]
    assert not any(name.startswith("access-control-") for name in found)


async def test_what_a_request_says_of_itself_is_in_no_header_of_the_answer(api: LiveApi) -> None:
    spoken = {
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "javascript",
        "X-Request-Id": "a b<script>",
        "Forwarded": "host=evil.example",
    }
    answer = await api.client.put("experiments/e", json={}, headers=spoken)
    shown = "\n".join(f"{name}: {value}" for name, value in answer.headers.items())
    assert answer.status_code == 201
    for word in ("evil", "javascript", "<script>"):
        assert word not in shown


async def test_tokens_that_were_made_up_are_refused(api: LiveApi) -> None:
    """Among them such that say of themselves that nobody signed them."""
    signer = api.app.state.signer
    principal = Principal(kind="node", id="tw-run_x-a1-n0", name="x", workspace_id="ws")
    good = signer.issue(principal)
    header, claims, signature = good.split(".")
    none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0"
    for token in (
        f"{none}.{claims}.",
        f"{none}.{claims}.{signature}",
        f"{header}.{claims}.",
        f"{header}.{claims}x.{signature}",
        f"{header}..{signature}",
        "a" * 20_000,
        "..",
        signer.issue(principal, seconds=-1),
    ):
        headers = {"Authorization": f"Bearer {token}"}
        for address in ("http://api/v1/node/secrets", "http://api/v1/me", "runs"):
            answer = await api.client.get(address, headers=headers)
            assert answer.status_code == 401, (token[:50], address)
