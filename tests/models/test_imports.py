"""Models from addresses and from single files: what they are is told by their files."""

import hashlib
import io
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.datasets.web import web_server
from tests.live_api import LiveApi, live_api
from tests.models.conftest import model_reconcilers
from tests.models.test_models import MODEL, problem, version_when_read

pytestmark = pytest.mark.anyio


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(
        tmp_path / "data",
        postgres_url,
        broker_url,
        reconcilers=model_reconcilers,
        fetch_allow=["127.0.0.1"],
    ) as live:
        yield live


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for path, data in files.items():
            archive.writestr(path, data)
    return buffer.getvalue()


async def test_a_zipped_saved_model_is_fetched_and_read(api: LiveApi) -> None:
    data = zipped({f"export/1/{path}": content for path, content in MODEL.items()})
    with web_server() as web:
        web.add("/m/digits.zip", data)
        body = {"url": web.url("/m/digits.zip"), "sha256": hashlib.sha256(data).hexdigest()}
        made = await api.client.post("/models/fetched/import", json=body)
        wrong = await api.client.post("/models/fetched/import", json={**body, "sha256": "0" * 64})

    assert made.status_code == 201, made.text
    assert (made.json()["kind"], made.json()["files_count"]) == ("saved_model", 2)
    assert problem(wrong, 422)["errors"][0]["code"] == "sha256_mismatch"
    version = await version_when_read(api, "fetched")
    assert (version["version"], version["signature_state"]) == (1, "Ready")


@pytest.mark.parametrize(
    ("name", "kind", "is_deployable"),
    [("model.keras", "keras", True), ("digits.onnx", "onnx", True)],
)
async def test_a_model_that_is_one_file(
    api: LiveApi, name: str, kind: str, is_deployable: bool
) -> None:
    with web_server() as web:
        # A Keras file is a zip archive itself, and is not unpacked.
        web.add(f"/m/{name}", zipped({"config.json": b"{}"}))
        fetched = await api.client.post("/models/one/import", json={"url": web.url(f"/m/{name}")})
    sent = await api.client.put("/models/one/archive", params={"filename": name}, content=b"bytes")

    for answer in (fetched, sent):
        assert answer.status_code == 201, answer.text
        found = answer.json()
        assert (found["kind"], found["is_deployable"]) == (kind, is_deployable)
        assert found["files_count"] == 1


async def test_a_file_whose_name_no_folder_can_have_is_not_fetched(api: LiveApi) -> None:
    with web_server() as web:
        for name in ("a%1B%0A.h5", "x" * 300 + ".keras"):
            body = {"url": web.url(f"/m/{name}")}
            refused = await api.client.post("/models/odd/import", json=body)
            assert problem(refused, 422)["errors"][0]["pointer"] == "/url", refused.text


async def test_what_cannot_be_fetched_makes_no_version(api: LiveApi) -> None:
    with web_server() as web:
        web.add("/m/notes.txt", b"no archive")
        for url in (
            web.url("/m/notes.txt"),
            web.url("/m/none.zip"),
            "http://169.254.169.254/m.zip",
        ):
            problem(await api.client.post("/models/refused/import", json={"url": url}), 422)

    problem(await api.client.get("/models/refused"), 404)
