"""Source snapshots: both ways of making one agree, and bad input changes nothing."""

import hashlib
import io
import tarfile
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.tables.blob import Blob
from app.tables.snapshot import Snapshot
from tests.live_api import LiveApi, live_api

pytestmark = pytest.mark.anyio
FILES = {
    "train.py": b"print(1)\n",
    "lib/data.py": b"x = 1\n",
    "notes.log": b"ignored",
    ".amlignore": b"*.log\n",
}
KEPT = {path: data for path, data in FILES.items() if path != "notes.log"}


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


def tar_of(files: dict[str, bytes], kind: str = "w:gz", **attributes: Any) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=kind) as archive:  # type: ignore[call-overload]
        for path, data in files.items():
            info = tarfile.TarInfo(path)
            info.size = len(data)
            for name, value in attributes.items():
                setattr(info, name, value)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def zip_of(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return buffer.getvalue()


def listed(files: dict[str, bytes]) -> list[dict[str, Any]]:
    return [
        {"path": path, "sha256": hashlib.sha256(data).hexdigest(), "size_bytes": len(data)}
        for path, data in files.items()
    ]


async def send(api: LiveApi, files: dict[str, bytes]) -> None:
    for file, data in zip(listed(files), files.values(), strict=True):
        answer = await api.client.put(f"/blobs/{file['sha256']}", content=data)
        assert answer.status_code == 201


async def rows(api: LiveApi) -> tuple[int, int]:
    async with api.database.session() as session:
        snapshots = await session.scalar(select(func.count()).select_from(Snapshot))
        blobs = await session.scalar(select(func.count()).select_from(Blob))
    return snapshots or 0, blobs or 0


@pytest.mark.parametrize("pack", [tar_of, zip_of, lambda files: tar_of(files, "w")])
async def test_an_archive_becomes_a_snapshot(api: LiveApi, pack: Any) -> None:
    answer = await api.client.put("/snapshots", content=pack(FILES))
    assert answer.status_code == 201, answer.text
    snapshot = answer.json()
    assert snapshot["file_count"] == len(KEPT)
    assert snapshot["size_bytes"] == sum(map(len, KEPT.values()))
    assert answer.headers["location"].endswith(f"/snapshots/{snapshot['id']}")
    assert (await api.client.get(f"/snapshots/{snapshot['id']}")).json() == snapshot
    files = (await api.client.get(f"/snapshots/{snapshot['id']}/files")).json()["items"]
    assert [file["path"] for file in files] == sorted(KEPT)
    for file in files:
        assert (await api.client.get(f"/blobs/{file['sha256']}")).content == KEPT[file["path"]]


async def test_the_same_files_are_the_same_snapshot_however_they_came(api: LiveApi) -> None:
    first = (await api.client.put("/snapshots", content=tar_of(FILES))).json()
    turned = dict(reversed(FILES.items()))
    assert (await api.client.put("/snapshots", content=zip_of(turned))).json() == first
    await send(api, FILES)
    answer = await api.client.post("/snapshots", json={"files": listed(FILES)})
    assert answer.status_code == 201
    assert answer.json() == first
    changed = {**FILES, "train.py": b"print(2)\n"}
    other = (await api.client.put("/snapshots", content=tar_of(changed))).json()
    assert other["id"] != first["id"]


async def test_the_executable_bit_counts(api: LiveApi) -> None:
    plain = (await api.client.put("/snapshots", content=tar_of(FILES))).json()
    answer = await api.client.put("/snapshots", content=tar_of(FILES, "w:gz", mode=0o755))
    assert answer.json()["id"] != plain["id"]
    files = (await api.client.get(f"/snapshots/{answer.json()['id']}/files")).json()["items"]
    assert all(file["executable"] for file in files)


async def test_blobs_that_were_not_sent_are_named(api: LiveApi) -> None:
    await send(api, {"train.py": FILES["train.py"]})
    files = {"train.py": FILES["train.py"], "b.py": b"not sent", "c.py": b"nor this"}
    before = await rows(api)
    answer = await api.client.post("/snapshots", json={"files": listed(files)})
    assert answer.status_code == 422
    problem = answer.json()
    assert problem["code"] == "blobs_missing"
    assert problem["missing"] == sorted(
        hashlib.sha256(data).hexdigest() for data in (b"not sent", b"nor this")
    )
    assert any("b.py" in error["message"] for error in problem["errors"])
    assert await rows(api) == before


async def test_ignored_files_need_not_be_sent(api: LiveApi) -> None:
    await send(api, KEPT)
    answer = await api.client.post("/snapshots", json={"files": listed(FILES)})
    assert answer.status_code == 201
    assert answer.json()["file_count"] == len(KEPT)


@pytest.mark.parametrize(
    ("files", "code"),
    [
        ({"../evil": b""}, "path_traversal"),
        ({"/evil": b""}, "path_absolute"),
        ({"./a": b""}, "path_invalid"),
        ({"a": b"", "A": b""}, "path_case_collision"),
        ({"a": b"", "a/b": b""}, "path_conflict"),
        ({".gitignore": b"*"}, "snapshot_empty"),
    ],
)
async def test_bad_manifests(api: LiveApi, files: dict[str, bytes], code: str) -> None:
    await send(api, files)
    before = await rows(api)
    answer = await api.client.post("/snapshots", json={"files": listed(files)})
    assert answer.status_code == 422
    assert answer.json()["code"] == code
    assert await rows(api) == before


async def test_a_wrong_size_is_refused(api: LiveApi) -> None:
    await send(api, KEPT)
    files = listed(KEPT)
    files[0]["size_bytes"] += 1
    answer = await api.client.post("/snapshots", json={"files": files})
    assert answer.status_code == 422
    assert answer.json()["code"] == "snapshot_size_mismatch"


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 422, "unsupported_archive"),
        (b"print(1)", 422, "unsupported_archive"),
        (tar_of(FILES)[:-30], 422, "archive_malformed"),
        (tar_of({"../evil": b"x"}), 422, "path_traversal"),
        (tar_of({"a": b""}, type=tarfile.SYMTYPE, linkname="/etc"), 422, "archive_entry_type"),
        (tar_of({}), 422, "archive_empty"),
        (tar_of({f"f{n}": b"" for n in range(2001)}), 413, "archive_too_many_files"),
        (tar_of({"zeros": bytes(40_000_000)}), 413, "archive_ratio"),
    ],
    # Archives hold the time they were made at.
    ids=lambda value: "archive" if isinstance(value, bytes) else str(value),
)
async def test_bad_archives_change_nothing(
    api: LiveApi, body: bytes, status: int, code: str
) -> None:
    before = await rows(api)
    answer = await api.client.put("/snapshots", content=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert str(api.settings.data_dir) not in answer.text
    assert await rows(api) == before
    assert not list((api.settings.data_dir / "objects" / "incoming").iterdir())


async def test_another_workspace_does_not_see_it(api: LiveApi) -> None:
    snapshot = (await api.client.put("/snapshots", content=tar_of(FILES))).json()
    other = f"http://api/v1/workspaces/{api.workspace}-b"
    (await api.client.put(other)).raise_for_status()
    answer = await api.client.get(f"{other}/snapshots/{snapshot['id']}")
    assert answer.status_code == 404
    assert answer.json()["code"] == "snapshot_not_found"


async def test_an_archive_that_is_posted_is_told_how_archives_are_sent(api: LiveApi) -> None:
    headers = {"Content-Type": "application/gzip"}
    answer = await api.client.post("snapshots", content=tar_of(FILES), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (415, "unsupported_media_type")
    assert "PUT" in answer.json()["detail"]
    answer = await api.client.post("snapshots", content=b"{", headers={"Content-Type": "text/json"})
    assert answer.status_code == 415
