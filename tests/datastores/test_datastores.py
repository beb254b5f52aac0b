"""Datastores: folders, buckets and web servers, and datasets made of what lies there."""

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx2
import pytest
from sqlalchemy import text, update

from app.datastores.stores import FolderStore
from app.tables.datastore import Datastore
from tests.datasets.web import web_server
from tests.health.figures import read, value
from tests.live_api import LiveApi, dataset_reconcilers, live_api
from tests.storage.buckets import BUCKET, BucketServer, bucket_server
from tests.waiting import until
from workers.collect_garbage import GarbageCollector

pytestmark = pytest.mark.anyio
TRAIN = b"a,b\n1,2\n"


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, BucketServer]]:
    folder = tmp_path_factory.mktemp("buckets")
    with (
        bucket_server("s3", folder / "s3") as s3,
        bucket_server("azure", folder / "az") as azure,
        bucket_server("gcs", folder / "gcs") as gcs,
    ):
        yield {"s3": s3, "azure_blob": azure, "gcs": gcs}


def bucket(server: BucketServer) -> dict[str, Any]:
    """The body for a datastore in the server's bucket."""
    options = server.options
    if "account_name" in options:
        place = {
            "kind": "azure_blob", "account_name": options["account_name"], "container": BUCKET,
            "prefix": "data", "endpoint": options["endpoint"],
        }  # fmt: skip
        return {"place": place, "credentials": {"account_key": options["account_key"]}}
    if "service_account_key" in options:
        place = {
            "kind": "gcs", "bucket": BUCKET, "prefix": "data", "endpoint": options["base_url"],
        }  # fmt: skip
        key = options["service_account_key"]
        return {"place": place, "credentials": {"service_account_key": key}}
    place = {"kind": "s3", "bucket": BUCKET, "prefix": "/data/", "endpoint": options["endpoint"]}
    keys = ("access_key_id", "secret_access_key")
    return {"place": place, "credentials": {key: options[key] for key in keys}}


@asynccontextmanager
async def running(
    tmp_path: Path, postgres_url: str, broker_url: str, *opened: str
) -> AsyncIterator[LiveApi]:
    (tmp_path / "shared").mkdir(exist_ok=True)
    async with live_api(
        tmp_path / "data", postgres_url, broker_url, reconcilers=dataset_reconcilers,
        datastore_folders=[tmp_path / "shared"], fetch_allow=list(opened),
    ) as api:  # fmt: skip
        yield api


@pytest.fixture
async def api(
    tmp_path: Path, postgres_url: str, broker_url: str, servers: dict[str, BucketServer]
) -> AsyncIterator[LiveApi]:
    opened = [f"127.0.0.1:{server.port}" for server in servers.values()]
    async with running(tmp_path, postgres_url, broker_url, *opened) as api:
        yield api


async def put(api: LiveApi, name: str, body: dict[str, Any]) -> httpx2.Response:
    return await api.client.put(f"datastores/{name}", json=body)


async def register(api: LiveApi, **body: Any) -> httpx2.Response:
    return await api.client.post(
        "datasets", json={"name": "set", **body}, headers={"Prefer": "wait=20"}
    )


async def verified(api: LiveApi) -> dict[str, Any]:
    answer = await api.client.post("datasets/set/versions/latest/verify")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize("kind", ["folder", "s3", "azure_blob", "gcs"])
async def test_what_is_uploaded_is_listed_registered_pinned_and_watched(
    api: LiveApi, servers: dict[str, BucketServer], tmp_path: Path, kind: str
) -> None:
    folder = {"place": {"kind": "folder", "path": str(tmp_path / "shared" / "data")}}
    (tmp_path / "shared" / "data").mkdir()
    body = folder if kind == "folder" else bucket(servers[kind])
    made = await put(api, "store", {**body, "is_default": True})
    assert made.status_code == 201, made.text
    shown = (await api.client.get("datastores/store")).json()
    assert shown["has_credentials"] is (kind != "folder")
    assert "credentials" not in shown
    for path, content in {
        "train/one.csv": TRAIN, "train/deep/zwei ü%.csv": b"2", "train/read.me": b"", "x.csv": b"x",
    }.items():  # fmt: skip
        sent = await api.client.put(f"datastores/store/files/{path}", content=content)
        assert sent.status_code == 204, sent.text
    listed = (await api.client.get("datastores/store/files?prefix=train/")).json()
    assert listed["is_complete"]
    assert {file["path"]: file["size_bytes"] for file in listed["items"]} == {
        "train/one.csv": 8, "train/deep/zwei ü%.csv": 1, "train/read.me": 0,
    }  # fmt: skip
    read = await api.client.get("datastores/store/files/train/deep/zwei ü%.csv")
    assert (read.status_code, read.content) == (200, b"2")
    assert "attachment" in read.headers["content-disposition"]
    absent = await api.client.get("datastores/store/files/train/none.csv")
    assert (absent.status_code, absent.json()["code"]) == (404, "datastore_file_not_found")
    refused = await register(api, paths=["train/[z-a]*.csv"])
    assert (refused.status_code, refused.json()["code"]) == (422, "source_refused"), refused.text
    registered = await register(api, paths=["train/**/*.csv"])
    assert registered.status_code == 201, registered.text
    files = (await api.client.get("datasets/set/versions/1/files")).json()["items"]
    assert [(file["path"], file["url"]) for file in files] == [
        ("deep/zwei ü%.csv", "datastore://store/train/deep/zwei%20%C3%BC%25.csv"),
        ("one.csv", "datastore://store/train/one.csv"),
    ]
    downloaded = await api.client.get("datasets/set/versions/1/files/one.csv")
    assert downloaded.content == TRAIN
    assert (await verified(api))["state"] == "unchanged"
    assert (await register(api, paths=["train/**/*.csv"], datastore="store")).status_code == 200
    # Another file under the name is drift, as it is on the web.
    await api.client.put("datastores/store/files/train/one.csv", content=b"other")
    found = await verified(api)
    assert found["state"] == "changed"
    assert "datastore://store/train/one.csv now has 5 bytes" in json.dumps(found)
    assert "Signature" not in json.dumps(found)
    assert "sig=" not in json.dumps(found)
    # Without the datastore the pinned bytes stay.
    assert (await api.client.delete("datastores/store")).status_code == 204
    assert (await verified(api))["state"] == "unreachable"
    assert (await api.client.get("datasets/set/versions/1/files/one.csv")).content == TRAIN


async def test_credentials_are_nowhere_to_be_read_and_stay_with_their_place(
    api: LiveApi, servers: dict[str, BucketServer]
) -> None:
    body = bucket(servers["s3"])
    body["credentials"]["secret_access_key"] = "canary-of-a-datastore"
    assert (await put(api, "kept", body)).status_code == 201
    async with api.database.session() as session:
        rows = await session.execute(
            text("SELECT d::text, s::text, v::text FROM datastores d, secrets s, secret_versions v")
        )
        dump = "".join("".join(row) for row in rows)
    assert dump
    assert "canary-of-a-datastore" not in dump
    assert "canary" not in (await api.client.get("datastores")).text
    # What is not given stays; at another place it is forgotten.
    again = await put(api, "kept", {"place": body["place"], "description": "same"})
    assert (again.status_code, again.json()["has_credentials"]) == (200, True)
    moved = {**body["place"], "bucket": "elsewhere"}
    assert (await put(api, "kept", {"place": moved})).json()["has_credentials"] is False


async def test_one_datastore_is_the_default(api: LiveApi, tmp_path: Path) -> None:
    body = {"place": {"kind": "folder", "path": str(tmp_path / "shared")}, "is_default": True}
    refused = await register(api, paths=["x"])
    assert refused.json()["errors"][0]["pointer"] == "/datastore"
    answers = await asyncio.gather(*(put(api, name, body) for name in ("a", "b", "c")))
    assert {answer.status_code for answer in answers} <= {201, 409}
    await put(api, "z", body)
    rows = (await api.client.get("datastores")).json()["items"]
    assert [row["name"] for row in rows if row["is_default"]] == ["z"]


REFUSED: list[tuple[dict[str, str], dict[str, str] | None]] = [
    ({"kind": "folder", "path": "/etc"}, None),
    ({"kind": "folder", "path": "{shared}/../.."}, None),
    ({"kind": "folder", "path": "relative"}, None),
    ({"kind": "s3", "bucket": "b", "endpoint": "http://169.254.169.254"}, None),
    ({"kind": "s3", "bucket": "bucket", "endpoint": "http://169.254.169.254"}, None),
    ({"kind": "s3", "bucket": "bucket", "endpoint": "https://example.com/../x"}, None),
    ({"kind": "s3", "bucket": "bucket", "region": "x/../y"}, None),
    ({"kind": "azure_blob", "account_name": "evil.com#", "container": "abc"}, None),
    ({"kind": "gcs", "bucket": "bucket"}, {"service_account_key": "/etc/passwd"}),
    ({"kind": "gcs", "bucket": "bucket"}, {"access_key_id": "a", "secret_access_key": "b"}),
    ({"kind": "s3", "bucket": "bucket"}, {"access_key_id": "a"}),
    ({"kind": "s3", "bucket": "bucket", "endpoint": "http://[::1"}, None),
    ({"kind": "azure_blob", "account_name": "abc", "container": "abc"}, {"account_key": "no key"}),
    ({"kind": "azure_blob", "account_name": "abc", "container": "abc"}, {"sas_token": "nonsense"}),
    (
        {"kind": "gcs", "bucket": "bucket"},
        {
            "service_account_key": json.dumps(
                {"client_email": "a", "private_key": "no pem", "private_key_id": "b"}
            )
        },
    ),
    ({"kind": "http", "base_url": "ftp://example.com"}, None),
    ({"kind": "nfs"}, None),
]


async def test_places_that_nobody_opened_are_refused(api: LiveApi, tmp_path: Path) -> None:
    for given, credentials in REFUSED:
        place = {key: value.format(shared=tmp_path / "shared") for key, value in given.items()}
        body = {"place": place} | ({"credentials": credentials} if credentials else {})
        answer = await put(api, "bad", body)
        assert answer.status_code == 422, answer.text
        assert "traceback" not in answer.text.lower()
    assert (await api.client.get("datastores/bad")).status_code == 404


async def test_links_and_paths_lead_out_of_no_folder(api: LiveApi, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "key").write_text("secret")
    (shared / "link").symlink_to(tmp_path / "secret")
    (shared / "file").symlink_to(tmp_path / "secret" / "key")
    (shared / "own.txt").write_text("own")
    assert (
        await put(api, "f", {"place": {"kind": "folder", "path": str(shared)}})
    ).status_code == 201
    listed = (await api.client.get("datastores/f/files")).json()["items"]
    assert [file["path"] for file in listed] == ["own.txt"]
    for paths in (["link/key"], ["file"], ["link"], ["../secret/key"], ["**/key"]):
        answer = await register(api, datastore="f", paths=paths)
        assert answer.status_code == 422, (paths, answer.text)
    for path in ("link/key", "file", "link", "%2e%2e/secret/key"):
        answer = await api.client.get(f"datastores/f/files/{path}")
        assert answer.status_code in (404, 422), (path, answer.text)
    for path in ("link/new", "%2e%2e/new", "a/../../new"):
        answer = await api.client.put(f"datastores/f/files/{path}", content=b"x")
        assert answer.status_code in (404, 409, 422), (path, answer.text)
    assert sorted(p.name for p in (tmp_path / "secret").iterdir()) == ["key"]


async def test_paths_that_no_file_can_have_are_refused(api: LiveApi, tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    await put(api, "f", {"place": {"kind": "folder", "path": str(shared)}})
    (shared / "a.txt").write_text("a")
    (shared / "folder").mkdir()
    (shared / "loop").symlink_to("loop")
    for path in ("a.txt/b", "a.txt/b/c", "folder"):
        answer = await api.client.put(f"datastores/f/files/{path}", content=b"x")
        assert (answer.status_code, answer.json()["code"]) == (409, "datastore_not_writable"), path
    assert (await api.client.put("datastores/f/files/loop/x", content=b"x")).status_code == 422
    for path in ("loop", "loop/x", "a.txt/b", "n" * 255):
        answer = await api.client.get(f"datastores/f/files/{path}")
        assert (answer.status_code, answer.json()["code"]) == (404, "datastore_file_not_found")
    longest = "n" * 255
    assert (await api.client.put(f"datastores/f/files/{longest}", content=b"x")).status_code == 204
    listed = (await api.client.get("datastores/f/files")).json()["items"]
    assert {file["path"] for file in listed} == {"a.txt", longest}
    inside = {"place": {"kind": "folder", "path": str(shared / "loop")}}
    assert (await put(api, "loop", inside)).status_code == 422


async def test_uploads_of_one_path_do_not_mix(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    store = FolderStore(tmp_path / "root")
    (tmp_path / "other").write_bytes(b"other")
    os.mkfifo(tmp_path / "slow")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(anyio.to_thread.run_sync, store.put, "x", tmp_path / "slow")
        writing = await anyio.to_thread.run_sync(os.open, tmp_path / "slow", os.O_WRONLY)
        with os.fdopen(writing, "wb", buffering=0) as slow:
            slow.write(b"first, ")
            await until(lambda: is_begun(tmp_path / "root"))
            assert list(store.listed("")) == []
            await anyio.to_thread.run_sync(store.put, "x", tmp_path / "other")
            assert (tmp_path / "root" / "x").read_bytes() == b"other"
            slow.write(b"second")
    assert (tmp_path / "root" / "x").read_bytes() == b"first, second"
    with pytest.raises(FileNotFoundError):
        store.put("y", tmp_path / "absent")
    assert [file.name for file in (tmp_path / "root").iterdir()] == ["x"]


async def test_what_broken_uploads_left_in_folders_goes(api: LiveApi, tmp_path: Path) -> None:
    folder = tmp_path / "shared" / "mine"
    (folder / "deep").mkdir(parents=True)
    await put(api, "mine", {"place": {"kind": "folder", "path": str(folder)}})
    await put(api, "again", {"place": {"kind": "folder", "path": str(folder)}})
    await put(api, "gone", {"place": {"kind": "folder", "path": str(tmp_path / "shared" / "no")}})
    part = ".0123456789abcdef.part"
    left = [folder / part, folder / "deep" / part]
    kept = [
        folder / "deep" / ".0123456789abcdee.part", folder / ".x.part", folder / "data",
        tmp_path / "shared" / part,
    ]  # fmt: skip
    for path in (*left, *kept):
        path.write_bytes(b"some")
    for path in (*left, *kept[1:]):
        os.utime(path, (0, 0))

    await put(api, "odd", {"place": {"kind": "folder", "path": str(folder / "odd")}})
    async with api.database.session() as session:
        odd = update(Datastore).where(Datastore.name == "odd")
        await session.execute(odd.values(place={"kind": "folder"}))
    counted = value(await read(api), "trainwright_odd_rows_total", table="datastores") or 0.0

    collector = GarbageCollector(api.database, api.objects, settings=api.settings)
    count = await collector.clean_datastores()
    assert value(await read(api), "trainwright_odd_rows_total", table="datastores") == counted + 1

    assert count == 2
    assert [path.exists() for path in left] == [False, False]
    assert all(path.exists() for path in kept)


async def is_begun(folder: Path) -> bool:
    return any(folder.iterdir())


async def test_credentials_whose_key_is_lost_are_said_to_be_unusable(
    api: LiveApi, servers: dict[str, BucketServer]
) -> None:
    assert (await put(api, "locked", bucket(servers["s3"]))).status_code == 201
    async with api.database.session() as session:
        await session.execute(text("UPDATE secret_versions SET key_id = 'lost'"))
    for answer in (
        await api.client.get("datastores/locked/files"),
        await api.client.put("datastores/locked/files/x", content=b"x"),
    ):
        assert (answer.status_code, answer.json()["code"]) == (422, "datastore_refused")
    answer = await register(api, datastore="locked", paths=["x"])
    assert (answer.status_code, answer.json()["code"]) == (422, "source_refused"), answer.text


async def test_a_server_that_refuses_fails_the_registration_without_its_words(
    api: LiveApi, servers: dict[str, BucketServer]
) -> None:
    body = bucket(servers["s3"])
    body["place"]["bucket"] = "not-there"
    await put(api, "wrong", body)
    answer = await register(api, datastore="wrong", paths=["x/*.csv"])
    assert answer.status_code in (422, 503), answer.text
    assert "127.0.0.1" not in answer.text
    listed = await api.client.get("datastores/wrong/files")
    assert listed.status_code in (422, 503), listed.text
    sent = await api.client.put("datastores/wrong/files/x", content=b"x")
    assert sent.status_code in (422, 503), sent.text
    assert "127.0.0.1" not in listed.text + sent.text
    for paths in ([], ["!x"], ["a\\b"], ["a\nb"], ["x"] * 101):
        refused = await register(api, datastore="wrong", paths=paths)
        assert refused.status_code == 422, paths
    both = await register(api, datastore="wrong", paths=["x"], urls=["http://example.com/x"])
    assert both.status_code == 422


async def test_files_of_a_web_server_are_named_one_by_one(
    tmp_path: Path, postgres_url: str, broker_url: str, servers: dict[str, BucketServer]
) -> None:
    s3 = bucket(servers["s3"])
    with web_server() as web:
        web.add("/base/open/a%20b.txt", b"open")
        made = {"place": {"kind": "http", "base_url": web.url("/base/")}}
        async with running(tmp_path, postgres_url, broker_url, web.netloc) as api:
            assert (await put(api, "web", made)).status_code == 201
            answer = await register(api, datastore="web", paths=["open/a b.txt"])
            assert answer.status_code == 201, answer.text
            found = await api.client.get("datasets/set/versions/1/files/a b.txt")
            assert found.content == b"open"
            assert (await verified(api))["state"] == "unchanged"
            assert (await register(api, datastore="web", paths=["open/*"])).status_code == 422
            refused = await api.client.put("datastores/web/files/x", content=b"x")
            assert (refused.status_code, refused.json()["code"]) == (409, "datastore_not_writable")
        # A server that the operator has not opened.
        async with running(tmp_path, postgres_url, broker_url) as closed:
            refused = await put(closed, "s3", s3)
            assert (refused.status_code, refused.json()["code"]) == (422, "datastore_refused")
            await put(closed, "web", made)
            answer = await register(closed, datastore="web", paths=["open/a b.txt"])
            assert (answer.status_code, answer.json()["code"]) == (422, "source_forbidden")
