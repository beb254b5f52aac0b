"""Buckets are asked with the credentials of their datastore, never with the machine's."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from tests.datasets.web import web_server
from tests.live_api import live_api
from tests.storage.buckets import service_account

pytestmark = pytest.mark.anyio
MACHINE = "the-machine-s"
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": MACHINE,
    "AWS_SECRET_ACCESS_KEY": MACHINE,
    "AWS_SESSION_TOKEN": MACHINE,
    "AZURE_STORAGE_ACCOUNT_KEY": base64.b64encode(MACHINE.encode()).decode(),
    "AZURE_STORAGE_TOKEN": MACHINE,
}
S3 = {"kind": "s3", "bucket": "bucket"}
AZURE = {"kind": "azure_blob", "account_name": "theirs", "container": "bucket"}
S3_KEYS = {"access_key_id": "theirs", "secret_access_key": "theirs"}


@pytest.mark.parametrize(
    ("place", "credentials", "signed"),
    [
        (S3, S3_KEYS, "Credential=theirs/"),
        (S3, {**S3_KEYS, "session_token": "their-session"}, "their-session"),
        (S3, None, ""),
        (AZURE, {"account_key": base64.b64encode(b"theirs").decode()}, "SharedKey theirs:"),
        (AZURE, {"sas_token": "?sv=2022-11-02&sig=a%2Fb%2Btheirs%3D"}, "sig=a%2Fb%2Btheirs%3D"),
        (AZURE, None, ""),
    ],
)
async def test_what_the_environment_holds_is_not_sent(
    tmp_path: Path, postgres_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch,
    place: dict[str, Any], credentials: dict[str, str] | None, signed: str,
) -> None:  # fmt: skip
    for name, content in ENVIRONMENT.items():
        monkeypatch.setenv(name, content)
    with web_server() as web:
        async with live_api(
            tmp_path / "data", postgres_url, broker_url, fetch_allow=[web.netloc]
        ) as api:
            body: dict[str, Any] = {"place": {**place, "endpoint": web.url("")}}
            if credentials:
                body["credentials"] = credentials
            made = await api.client.put("datastores/theirs", json=body)
            assert made.status_code == 201, made.text
            await api.client.get("datastores/theirs/files")
    (request,) = web.requests
    assert signed in json.dumps(request)
    assert MACHINE not in json.dumps(request)
    assert ("authorization" in request[1]) is (credentials is not None and "sig" not in request[0])


@pytest.mark.parametrize("name", ["GOOGLE_BEARER_TOKEN", "GOOGLE_SERVICE_ACCOUNT"])
async def test_google_s_buckets_are_not_asked_while_the_environment_would_be_taken_first(
    tmp_path: Path, postgres_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    with web_server() as web:
        place = {"kind": "gcs", "bucket": "bucket", "endpoint": web.url("")}
        credentials = {"service_account_key": service_account("theirs@example.com")}
        async with live_api(
            tmp_path / "data", postgres_url, broker_url, fetch_allow=[web.netloc]
        ) as api:
            body = {"place": place, "credentials": credentials}
            assert (await api.client.put("datastores/theirs", json=body)).status_code == 201
            monkeypatch.setenv(name, MACHINE)
            for answer in (
                await api.client.get("datastores/theirs/files"),
                await api.client.put("datastores/theirs/files/x", content=b"x"),
                await api.client.put("datastores/theirs", json=body),
            ):
                assert (answer.status_code, answer.json()["code"]) == (422, "datastore_refused")
                assert name in answer.json()["detail"]
    assert web.requests == []


@pytest.mark.parametrize(
    ("place", "name"), [(S3, "AWS_ENDPOINT_URL_S3"), (AZURE, "AZURE_STORAGE_USE_EMULATOR")]
)
async def test_no_bucket_is_asked_elsewhere_than_it_says(
    tmp_path: Path, postgres_url: str, broker_url: str, monkeypatch: pytest.MonkeyPatch,
    place: dict[str, Any], name: str,
) -> None:  # fmt: skip
    monkeypatch.setenv(name, "true")
    async with live_api(tmp_path / "data", postgres_url, broker_url) as api:
        (await api.client.put("datastores/theirs", json={"place": place})).raise_for_status()
        answer = await api.client.get("datastores/theirs/files")
        assert (answer.status_code, answer.json()["code"]) == (422, "datastore_refused")
        assert name in answer.json()["detail"]
