"""Signing in with a real provider of OpenID Connect."""

import asyncio
import base64
import hmac
import json
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from authlib.oauth2.rfc7636 import create_s256_code_challenge
from joserfc.jwk import RSAKey

from app.auth import oidc
from tests.auth.provider import TestProvider, query_of, running_provider
from tests.live_api import LiveApi, live_api
from tests.people import bare_client

pytestmark = pytest.mark.anyio

HERE = "http://127.0.0.1:8470"
LOOPBACK = "http://127.0.0.1:45678/callback"


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestProvider]:
    with running_provider(tmp_path_factory.mktemp("provider")) as provider:
        yield provider


@pytest.fixture
async def api(
    tmp_path: Path, postgres_url: str, broker_url: str, provider: TestProvider
) -> AsyncIterator[LiveApi]:
    settings: dict[str, Any] = {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": "trainwright",
        "oidc_create_users": True,
        "oidc_admin_groups": ["operators"],
    }
    async with live_api(tmp_path, postgres_url, broker_url, **settings) as api:
        yield api


@pytest.fixture
def alice(provider: TestProvider) -> str:
    """Make somebody whom the provider knows; return the subject."""
    subject = f"alice-{uuid.uuid4().hex[:12]}"
    provider.people(**{subject: {"preferred_username": subject, "email": "a@example.org"}})
    return subject


async def begin(
    api: LiveApi, provider: TestProvider, person: str, *, client_id: str = "trainwright"
) -> dict[str, str]:
    """Do what a command line does until the browser is back; return what it then sends."""
    async with bare_client(api) as client:
        said = (await client.get("/v1/auth/oidc")).json()
    verifier, nonce, state = (secrets.token_urlsafe(32) for _ in range(3))
    asked = httpx2.QueryParams(
        response_type="code",
        client_id=client_id,
        redirect_uri=LOOPBACK,
        scope=said["scopes"],
        state=state,
        nonce=nonce,
        code_challenge=create_s256_code_challenge(verifier),
        code_challenge_method=said["code_challenge_method"],
    )
    back = await provider.authorize(f"{said['authorization_endpoint']}?{asked}", person=person)
    found = query_of(back)
    assert found["state"] == state
    return {
        "code": found["code"],
        "code_verifier": verifier,
        "redirect_uri": LOOPBACK,
        "nonce": nonce,
    }


async def test_a_command_line_signs_in(api: LiveApi, provider: TestProvider, alice: str) -> None:
    given = await begin(api, provider, alice)
    async with bare_client(api) as client:
        made = await client.post("/v1/auth/token", json=given)
        assert made.status_code == 201, made.text
        assert made.json()["user"] == alice
        again = await client.post("/v1/auth/token", json=given)
        assert (again.status_code, again.json()["code"]) == (401, "sign_in_refused")
    async with bare_client(api, made.json()["token"]) as client:
        me = (await client.get("/v1/me")).json()
        assert (me["name"], me["is_admin"]) == (alice, False)
        token = (await client.get("/v1/tokens")).json()["items"][0]
        assert token["id"] == made.json()["token_id"]
        assert token["expires_at"] is not None


async def test_a_browser_signs_in(api: LiveApi, provider: TestProvider, alice: str) -> None:
    transport = httpx2.ASGITransport(api.app)
    async with httpx2.AsyncClient(transport=transport, base_url=HERE) as browser:
        sent = await browser.get("/v1/auth/login")
        assert sent.status_code == 303
        cookie = sent.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=lax" in cookie
        back = await provider.authorize(sent.headers["location"], person=alice)
        foreign = {**query_of(back), "state": "another"}
        refused = await browser.get("/v1/auth/callback", params=foreign)
        assert refused.status_code == 401
        made = await browser.get(back.raw_path.decode())
        assert made.status_code == 200, made.text
    async with bare_client(api, made.json()["token"]) as client:
        assert (await client.get("/v1/me")).json()["name"] == alice
    async with httpx2.AsyncClient(transport=transport, base_url=HERE) as stranger:
        assert (await stranger.get(back.raw_path.decode())).status_code == 401


async def test_a_code_with_another_verifier_nonce_or_client_is_refused(
    api: LiveApi, provider: TestProvider, alice: str
) -> None:
    async with bare_client(api) as client:
        for changed in (
            {"code_verifier": secrets.token_urlsafe(32)},
            {"nonce": secrets.token_urlsafe(32)},
            {"code": "made-up"},
            {"redirect_uri": "http://127.0.0.1:1/callback"},
        ):
            given = await begin(api, provider, alice)
            answer = await client.post("/v1/auth/token", json={**given, **changed})
            assert (answer.status_code, answer.json()["code"]) == (401, "sign_in_refused")
        given = await begin(api, provider, alice, client_id="another")
        assert (await client.post("/v1/auth/token", json=given)).status_code == 401


async def test_the_provider_is_not_asked_without_pkce(
    api: LiveApi, provider: TestProvider, alice: str
) -> None:
    async with bare_client(api) as client:
        sent = await client.get("/v1/auth/login", headers={"Host": "127.0.0.1:8470"})
        assert query_of(sent.headers["location"])["code_challenge_method"] == "S256"
        given = await begin(api, provider, alice)
        for missing in ("code_verifier", "nonce", "redirect_uri"):
            body = {name: value for name, value in given.items() if name != missing}
            assert (await client.post("/v1/auth/token", json=body)).status_code == 422
        for foreign in ("https://evil.example/callback", "http://10.0.0.1:1/", "x"):
            body = {**given, "redirect_uri": foreign}
            assert (await client.post("/v1/auth/token", json=body)).status_code == 422
    bare = f"{provider.issuer}/auth?response_type=code&client_id=trainwright&scope=openid"
    back = await provider.authorize(f"{bare}&redirect_uri={LOOPBACK}&nonce=n", person=alice)
    assert query_of(back)["error"] == "invalid_request"


async def test_a_nonce_is_good_once(
    api: LiveApi, provider: TestProvider, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = await begin(api, provider, alice)
    token = provider.sign(sub=alice, nonce=given["nonce"])

    async def same_token_again(*_: Any, **__: Any) -> tuple[int, dict[str, str]]:
        return 200, {"id_token": token}

    async with bare_client(api) as client:
        assert (await client.post("/v1/auth/token", json=given)).status_code == 201
        # A provider that gives the same token again: even then it is not taken.
        assert api.app.state.provider is not None
        await api.app.state.provider.claims(token)
        monkeypatch.setattr(api.app.state.provider, "_fetch", same_token_again)
        again = await client.post("/v1/auth/token", json=given)
        assert again.status_code == 401
        assert "used before" in again.json()["detail"]


async def test_the_providers_tokens_are_taken_as_they_are(
    api: LiveApi, provider: TestProvider, alice: str
) -> None:
    async with bare_client(api, provider.sign(sub=alice, preferred_username=alice)) as client:
        assert (await client.get("/v1/me")).json()["name"] == alice
        hidden = await client.get(f"/v1/workspaces/{api.workspace}/runs")
        assert hidden.status_code == 404
        await api.client.post("role-assignments", json={"role": "reader", "user": alice})
        seen = await client.get(f"/v1/workspaces/{api.workspace}/runs")
        assert seen.status_code == 200
        await api.client.patch(f"http://api/v1/users/{alice}", json={"disabled": True})
        assert (await client.get("/v1/me")).status_code == 403


def coded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def begun(provider: TestProvider, algorithm: str) -> str:
    """Return header and claims of a token that a library refuses to make."""
    header = {"alg": algorithm, "kid": provider.key.kid}
    claims = {"iss": provider.issuer, "aud": "trainwright", "sub": "alice", "exp": 2**31}
    return f"{coded(json.dumps(header).encode())}.{coded(json.dumps(claims).encode())}"


def with_public_key_as_secret(provider: TestProvider) -> str:
    text = begun(provider, "HS256")
    signature = hmac.digest(provider.key.as_pem(private=False), text.encode(), "sha256")
    return f"{text}.{coded(signature)}"


async def test_tokens_that_are_not_believed(api: LiveApi, provider: TestProvider) -> None:
    now = int(time.time())
    stranger = RSAKey.generate_key(2048, {"kid": str(provider.key.kid)})
    tokens = {
        "no signature": begun(provider, "none") + ".",
        "the public key as a secret": with_public_key_as_secret(provider),
        "a stranger's key": provider.sign(key=stranger),
        "another audience": provider.sign(aud="another"),
        "no audience": provider.sign(aud=None),
        "another issuer": provider.sign(iss="https://evil.example"),
        "expired": provider.sign(exp=now - 60),
        "no end": provider.sign(exp=None),
        "not yet": provider.sign(nbf=now + 600),
        "nobody": provider.sign(sub=None),
        "cut off": provider.sign()[:-20],
    }
    for name, token in tokens.items():
        async with bare_client(api, token) as client:
            answer = await client.get("/v1/me")
            assert answer.status_code == 401, (name, answer.text)
            assert token not in answer.text


async def test_keys_rotate_and_unknown_ones_make_no_flood(
    api: LiveApi, provider: TestProvider, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = provider.sign(sub=alice, preferred_username=alice)
    async with bare_client(api, old) as client:
        assert (await client.get("/v1/me")).status_code == 200
    before = provider.keys_asked()
    stranger = RSAKey.generate_key(2048, auto_kid=True)
    async with bare_client(api, provider.sign(key=stranger)) as client:
        answers = await asyncio.gather(*(client.get("/v1/me") for _ in range(20)))
        assert {answer.status_code for answer in answers} == {401}
    assert provider.keys_asked() == before
    monkeypatch.setattr(oidc, "_KEYS_AT_MOST_EVERY_SECONDS", 0.0)
    provider.rotate()
    async with bare_client(api, provider.sign(sub=alice)) as client:
        assert (await client.get("/v1/me")).json()["name"] == alice
    async with bare_client(api, old) as client:
        assert (await client.get("/v1/me")).status_code == 401


async def test_forged_tokens_hold_up_nobody_while_the_provider_is_silent(
    api: LiveApi, provider: TestProvider, alice: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = provider.sign(sub=alice, preferred_username=alice)
    forged = provider.sign(key=RSAKey.generate_key(2048, auto_kid=True))
    async with bare_client(api, good) as client, bare_client(api, forged) as forger:
        assert (await client.get("/v1/me")).status_code == 200
        # As long after the last look as another one is allowed.
        monkeypatch.setattr(oidc, "_KEYS_AT_MOST_EVERY_SECONDS", 1.0)
        await asyncio.sleep(1.1)
        with provider.silent():
            tries = [asyncio.create_task(forger.get("/v1/me")) for _ in range(10)]
            async with asyncio.timeout(3):
                while not any(task.done() for task in tries):
                    assert (await client.get("/v1/me")).status_code == 200
            answers = await asyncio.gather(*tries)
        assert {answer.status_code for answer in answers} == {401, 503}


async def test_groups_and_administration_follow_the_claims(
    api: LiveApi, provider: TestProvider, alice: str
) -> None:
    group = f"team-{uuid.uuid4().hex[:12]}"
    await api.client.post("http://api/v1/groups", json={"name": group})
    await api.client.post("role-assignments", json={"role": "reader", "group": group})
    runs = f"/v1/workspaces/{api.workspace}/runs"

    def token(groups: list[str]) -> str:
        # An empty list is a claim as well.
        return provider.sign(sub=alice, preferred_username=alice, groups=groups or ["none"])

    async with bare_client(api, token([group, "not-here"])) as client:
        assert (await client.get(runs)).status_code == 200
    async with bare_client(api, token([])) as client:
        assert (await client.get(runs)).status_code == 404
        assert (await client.get("/v1/users")).status_code == 403
    async with bare_client(api, token(["operators"])) as client:
        assert (await client.get("/v1/users")).status_code == 200
    async with bare_client(api, token([])) as client:
        assert (await client.get("/v1/users")).status_code == 403


async def test_a_name_that_somebody_has_is_not_taken_over(
    api: LiveApi, provider: TestProvider, alice: str
) -> None:
    token = provider.sign(sub=alice, preferred_username="admin")
    async with bare_client(api, token) as client:
        answer = await client.get("/v1/me")
        assert (answer.status_code, answer.json()["code"]) == (403, "not_a_user_here")


async def test_strangers_become_no_users_unless_the_operator_says_so(
    tmp_path: Path, postgres_url: str, broker_url: str, provider: TestProvider, alice: str
) -> None:
    settings: dict[str, Any] = {"oidc_issuer": provider.issuer, "oidc_client_id": "trainwright"}
    async with live_api(tmp_path, postgres_url, broker_url, **settings) as api:
        async with bare_client(api, provider.sign(sub=alice)) as client:
            answer = await client.get("/v1/me")
            assert (answer.status_code, answer.json()["code"]) == (403, "not_a_user_here")
        made = await api.client.post(
            "http://api/v1/users", json={"name": alice, "sign_in_subject": alice}
        )
        assert made.json()["issuer"] == provider.issuer
        async with bare_client(api, provider.sign(sub=alice)) as client:
            assert (await client.get("/v1/me")).json()["name"] == alice


async def test_without_a_provider_nobody_signs_in(
    tmp_path: Path, postgres_url: str, broker_url: str, provider: TestProvider
) -> None:
    async with live_api(tmp_path, postgres_url, broker_url) as api, bare_client(api) as client:
        answer = await client.get("/v1/auth/oidc")
        assert (answer.status_code, answer.json()["code"]) == (404, "sign_in_off")
        signed = {"Authorization": f"Bearer {provider.sign()}"}
        assert (await client.get("/v1/me", headers=signed)).status_code == 401


async def test_a_provider_that_is_away_is_told(
    tmp_path: Path, postgres_url: str, broker_url: str, provider: TestProvider
) -> None:
    settings: dict[str, Any] = {"oidc_issuer": "http://127.0.0.1:9", "oidc_client_id": "x"}
    async with live_api(tmp_path, postgres_url, broker_url, **settings) as api:
        async with bare_client(api) as client:
            answer = await client.get("/v1/auth/oidc")
            assert answer.status_code == 503
            assert answer.headers["retry-after"]
            assert (await client.get("/healthz")).status_code == 200
        assert (await api.client.get("http://api/v1/me")).status_code == 200
