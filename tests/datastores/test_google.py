"""What is Google's own about buckets of Google Cloud Storage."""

import gzip
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import obstore
import pytest
from obstore.store import GCSStore
from sqlalchemy import update

from app.tables.datastore import Datastore
from tests.live_api import LiveApi, dataset_reconcilers, live_api
from tests.storage.buckets import (
    BUCKET,
    BucketServer,
    bucket_server,
    service_account,
    upload_to_emulator,
)

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def emulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with bucket_server("gcs_emulator", tmp_path_factory.mktemp("emulator")) as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BucketServer]:
    with bucket_server("gcs", tmp_path_factory.mktemp("gcs")) as server:
        yield server


@asynccontextmanager
async def running(
    tmp_path: Path, postgres_url: str, broker_url: str, server: BucketServer
) -> AsyncIterator[LiveApi]:
    async with live_api(
        tmp_path / "data", postgres_url, broker_url, reconcilers=dataset_reconcilers,
        fetch_allow=[f"127.0.0.1:{server.port}"],
    ) as api:  # fmt: skip
        yield api


def place(server: BucketServer) -> dict[str, Any]:
    return {"kind": "gcs", "bucket": BUCKET, "prefix": "data", "endpoint": address(server)}


def address(server: BucketServer) -> str:
    return server.options["base_url"]


def key(server: BucketServer) -> dict[str, str]:
    return {"service_account_key": server.options["service_account_key"]}


@pytest.mark.parametrize("is_public", [True, False])
async def test_what_google_s_emulator_has_is_listed_read_and_registered(
    tmp_path: Path, postgres_url: str, broker_url: str, emulator: BucketServer, is_public: bool
) -> None:
    files = {
        "train/one.csv": b"a,b\n1,2\n", "train/deep/zwei ü%.csv": b"2", "train/read.me": b"",
    }  # fmt: skip
    for path, content in files.items():
        upload_to_emulator(emulator, f"data/{path}", content)
    body = {"place": place(emulator)} | ({} if is_public else {"credentials": key(emulator)})
    async with running(tmp_path, postgres_url, broker_url, emulator) as api:
        made = await api.client.put("datastores/google", json=body)
        assert made.status_code == 201, made.text
        listed = (await api.client.get("datastores/google/files?prefix=train/")).json()
        assert {file["path"]: file["size_bytes"] for file in listed["items"]} == {
            path: len(content) for path, content in files.items()
        }
        for path, content in files.items():
            assert (await api.client.get(f"datastores/google/files/{path}")).content == content
        part = await api.client.get(
            "datastores/google/files/train/one.csv", headers={"Range": "bytes=2-4"}
        )
        assert (part.status_code, part.content) == (206, b"b\n1")
        absent = await api.client.get("datastores/google/files/train/none.csv")
        assert (absent.status_code, absent.json()["code"]) == (404, "datastore_file_not_found")
        registered = await api.client.post(
            "datasets",
            json={"name": "set", "datastore": "google", "paths": ["train/**/*.csv"]},
            headers={"Prefer": "wait=20"},
        )
        assert registered.status_code == 201, registered.text
        versions = "datasets/set/versions/latest"
        assert (await api.client.post(f"{versions}/verify")).json()["state"] == "unchanged"
        upload_to_emulator(emulator, "data/train/one.csv", b"other")
        assert (await api.client.post(f"{versions}/verify")).json()["state"] == "changed"
        kept = await api.client.get(f"{versions}/files/one.csv")
        assert kept.content == files["train/one.csv"]


async def test_what_lies_gzipped_at_google_is_read_as_it_lies(
    tmp_path: Path, postgres_url: str, broker_url: str, emulator: BucketServer
) -> None:
    packed = gzip.compress(b"a,b\n" * 1000)
    upload_to_emulator(emulator, "data/packed/rows.csv.gz", packed, encoding="gzip")
    async with running(tmp_path, postgres_url, broker_url, emulator) as api:
        await api.client.put("datastores/google", json={"place": place(emulator)})
        listed = (await api.client.get("datastores/google/files?prefix=packed/")).json()
        assert [file["size_bytes"] for file in listed["items"]] == [len(packed)]
        read = await api.client.get("datastores/google/files/packed/rows.csv.gz")
        assert (read.status_code, read.content) == (200, packed)
        registered = await api.client.post(
            "datasets",
            json={"name": "packed", "datastore": "google", "paths": ["packed/*"]},
            headers={"Prefer": "wait=20"},
        )
        assert registered.status_code == 201, registered.text
        kept = await api.client.get("datasets/packed/versions/1/files/rows.csv.gz")
        assert kept.content == packed


async def test_the_machine_s_own_identity_writes_into_no_bucket(
    tmp_path: Path, postgres_url: str, broker_url: str, server: BucketServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setenv("GOOGLE_SERVICE_ACCOUNT_KEY", service_account("machine@example.com"))
    async with running(tmp_path, postgres_url, broker_url, server) as api:
        await api.client.put("datastores/open", json={"place": place(server)})
        sent = await api.client.put("datastores/open/files/x", content=b"x")
        assert (sent.status_code, sent.json()["code"]) == (409, "datastore_not_writable")
        await api.client.put(
            "datastores/open", json={"place": place(server), "credentials": key(server)}
        )
        assert (await api.client.get("datastores/open/files")).json()["items"] == []
        assert (await api.client.put("datastores/open/files/x", content=b"x")).status_code == 204


async def test_a_listing_of_several_pages_is_whole(
    tmp_path: Path, postgres_url: str, broker_url: str, server: BucketServer
) -> None:
    config: Any = {"base_url": address(server), "bearer_token": "anything"}
    store = GCSStore(BUCKET, config=config, client_options={"allow_http": True})
    for number in range(1005):
        obstore.put(store, f"data/many/{number:04}", b"x")
    async with running(tmp_path, postgres_url, broker_url, server) as api:
        body = {"place": place(server), "credentials": key(server)}
        await api.client.put("datastores/google", json=body)
        listed = (await api.client.get("datastores/google/files?prefix=many/&limit=2000")).json()
        assert listed["is_complete"]
        assert [file["path"] for file in listed["items"]] == [f"many/{n:04}" for n in range(1005)]


async def test_what_was_registered_without_an_endpoint_keeps_its_credentials(
    tmp_path: Path, postgres_url: str, broker_url: str, server: BucketServer
) -> None:
    earlier = {"kind": "gcs", "bucket": BUCKET, "prefix": ""}
    async with running(tmp_path, postgres_url, broker_url, server) as api:
        await api.client.put("datastores/old", json={"place": earlier, "credentials": key(server)})
        async with api.database.session() as session:
            old = update(Datastore).where(Datastore.name == "old").values(place=earlier)
            await session.execute(old)
        again = await api.client.put("datastores/old", json={"place": earlier})
        assert (again.status_code, again.json()["has_credentials"]) == (200, True)
        closed = {**earlier, "endpoint": "https://storage.example.com"}
        refused = await api.client.put("datastores/old", json={"place": closed})
        assert (refused.status_code, refused.json()["code"]) == (422, "datastore_refused")
        moved = {**earlier, "endpoint": address(server)}
        answer = await api.client.put("datastores/old", json={"place": moved})
        assert answer.json()["has_credentials"] is False
