"""Artifacts in parts: the real client's way for large files, and calls as curl makes them."""

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mlflow.store.artifact.http_artifact_repo import HttpArtifactRepository
from sqlalchemy import func, select

from app.tables.upload import PartUpload
from tests.mlflow.conftest import Space
from tests.mlflow.test_access import begin_attempt, in_server, submit
from tests.served import Served

MIB = 1024 * 1024
PARTS = (b"a" * 1000, b"b" * 700, b"c")
WHOLE = b"".join(PARTS)


@pytest.fixture
def run_id(space: Space) -> str:
    """Return a run."""
    return str(space.client.create_run("0").info.run_id)


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the client send parts of 5 MiB."""
    monkeypatch.setenv("MLFLOW_ENABLE_PROXY_MULTIPART_UPLOAD", "true")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_MINIMUM_FILE_SIZE", "1")
    monkeypatch.setenv("MLFLOW_MULTIPART_UPLOAD_CHUNK_SIZE", str(5 * MIB))


def left_behind(served: Served, upload_id: str = "mpu_") -> list[str]:
    """Names of the parts that lie on the server's disk."""
    folder = served.api.objects.root / "partial"
    return sorted(path.name for path in folder.iterdir() if path.name.startswith(upload_id))


class Upload:
    """An upload of ``big.bin`` into a folder, as curl makes it."""

    def __init__(self, space: Space, folder: str, *, num_parts: int = 3, **more: Any) -> None:
        self.space, self.folder, self.more = space, folder, more
        begun = self.call("create", num_parts=num_parts).raise_for_status().json()
        self.id: str = begun["upload_id"]
        self.credentials: list[dict[str, Any]] = begun["credentials"]

    def call(self, what: str, **body: Any) -> httpx2.Response:
        address = f"{self.space.tracking}/api/2.0/mlflow-artifacts/mpu/{what}/{self.folder}"
        body = {"path": "/home/me/big.bin", **body}
        return self.space.http.post(address, json=body, **self.more)

    def send(self, number: int, data: bytes) -> str:
        """Send a part as anybody who was given its address; returns its ETag."""
        one = self.credentials[number - 1]
        sent = httpx2.put(one["url"], headers=one["headers"], content=data, trust_env=False)
        return sent.raise_for_status().headers["etag"]

    def complete(self, etags: Sequence[str | None], **more: Any) -> httpx2.Response:
        parts = [{"part_number": at, "etag": etag} for at, etag in enumerate(etags, start=1)]
        return self.call("complete", **{"upload_id": self.id, "parts": parts, **more})


def test_the_client_sends_a_large_file_in_parts(
    space: Space, served: Served, run_id: str, tmp_path: Path, in_parts: None
) -> None:
    source = tmp_path / "naïve 100% big.bin"
    source.write_bytes(random.Random(1).randbytes(23 * MIB + 17))
    space.client.log_artifact(run_id, str(source), "models")
    (listed,) = space.client.list_artifacts(run_id, "models")
    assert (listed.path, listed.file_size) == (f"models/{source.name}", 23 * MIB + 17)
    fetched = Path(space.client.download_artifacts(run_id, listed.path, str(tmp_path / "back")))
    assert fetched.read_bytes() == source.read_bytes()
    assert left_behind(served) == []
    model = space.client.create_logged_model("0", "net")
    space.client.log_model_artifact(model.model_id, str(source))
    assert space.client.list_logged_model_artifacts(model.model_id)[0].file_size == 23 * MIB + 17
    empty = tmp_path / "empty"
    empty.touch()
    space.client.log_artifact(run_id, str(empty))
    assert left_behind(served) == []


def test_a_client_that_fails_cleans_up(
    space: Space, served: Served, run_id: str, tmp_path: Path, in_parts: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    send = HttpArtifactRepository._upload_part

    def fail_once(credential: Any, local_file: str, size: int, start_byte: int) -> Any:
        if credential.part_number == 2:
            raise OSError("the line is down")
        return send(credential, local_file, size, start_byte)

    source = tmp_path / "big.bin"
    source.write_bytes(random.Random(2).randbytes(11 * MIB))
    monkeypatch.setattr(HttpArtifactRepository, "_upload_part", staticmethod(fail_once))
    with pytest.raises(Exception, match="the line is down"):
        space.client.log_artifact(run_id, str(source))
    assert (space.client.list_artifacts(run_id), left_behind(served)) == ([], [])


@pytest.mark.parametrize("where", ["0/{}/artifacts/deep", "shared/folder", ""])
def test_parts_come_in_any_order_and_the_file_appears_at_once(
    space: Space, served: Served, run_id: str, where: str
) -> None:
    folder = where.format(run_id)
    path = f"{folder}/big.bin" if folder else "big.bin"
    file = f"{space.tracking}/api/2.0/mlflow-artifacts/artifacts/{path}"
    upload = Upload(space, folder)
    etags = {number: upload.send(number, PARTS[number - 1]) for number in (3, 1, 2)}
    assert etags[1] == f'"{hashlib.sha256(PARTS[0]).hexdigest()}"'
    assert space.http.get(file).status_code == 404
    assert upload.complete([etags[1], etags[2], etags[3]]).json() == {}
    assert (space.http.get(file).content, left_behind(served)) == (WHOLE, [])
    # An answer that was lost is asked for again.
    space.http.put(file, content=b"later").raise_for_status()
    assert upload.complete([etags[1], etags[2], etags[3]]).status_code == 200
    assert upload.call("abort", upload_id=upload.id).status_code == 200
    assert space.http.get(file).content == b"later"


def test_only_the_named_parts_become_the_whole(space: Space, served: Served, run_id: str) -> None:
    upload = Upload(space, f"0/{run_id}/artifacts")
    first, third = upload.send(1, PARTS[0]), upload.send(3, PARTS[2])
    stale = upload.send(2, b"other")
    assert "Part 2" in upload.complete([first, stale.replace("0", "1"), third]).json()["message"]
    second = upload.send(2, PARTS[1])
    for etags in (
        [first, stale, third], [first, None, third], [first, second], [second, first, third],
        [], [first, second, third, third],
    ):  # fmt: skip
        refused = upload.complete(etags)
        assert (refused.status_code, refused.json()["error_code"]) == (
            400, "INVALID_PARAMETER_VALUE",
        )  # fmt: skip
    for numbers in ([2, 1, 3], [1, 1, 2], [0, 1, 2], [1, 2, 4]):
        parts = [{"part_number": number, "etag": first} for number in numbers]
        assert upload.call("complete", upload_id=upload.id, parts=parts).status_code == 400
    assert space.client.list_artifacts(run_id) == []
    # Proxies make ETags weak, and some clients take the quotes off.
    named = [f"W/{first}", second.strip('"'), third]
    assert upload.complete(named).status_code == 200
    assert space.client.list_artifacts(run_id)[0].file_size == len(WHOLE)
    assert left_behind(served, upload.id) == []


def test_a_part_that_is_missing_is_named(space: Space, run_id: str) -> None:
    upload = Upload(space, f"0/{run_id}/artifacts")
    first = upload.send(1, PARTS[0])
    refused = upload.complete([first, first, first])
    assert (refused.status_code, refused.json()["message"]) == (400, "Part 2 was not sent.")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"path": ""}, "Missing value for required parameter 'path'"),
        ({"path": "/home/me/"}, "Invalid path"),
        ({"path": "/home/.."}, "Invalid path"),
        ({"num_parts": 10_001}, "num_parts"),
        ({"num_parts": -1}, "num_parts"),
        ({"num_parts": "x"}, "Invalid value \"x\" for parameter 'num_parts' supplied"),
    ],
)
def test_what_cannot_be_is_refused(
    space: Space, run_id: str, body: dict[str, Any], said: str
) -> None:
    address = f"{space.tracking}/api/2.0/mlflow-artifacts/mpu/create/0/{run_id}/artifacts"
    refused = space.http.post(address, json={"path": "big.bin", **body})
    assert (refused.status_code, refused.json()["error_code"]) == (400, "INVALID_PARAMETER_VALUE")
    assert said in refused.json()["message"]


@pytest.mark.parametrize("path", ["C:\\out\\big.bin", "out\\big.bin", "big.bin", "./a/big.bin"])
def test_the_file_has_its_own_name_wherever_it_lay(space: Space, run_id: str, path: str) -> None:
    upload = Upload(space, f"0/{run_id}/artifacts", num_parts=1)
    space.call("GET", "experiments/get", params={"experiment_id": "0"}).raise_for_status()
    etag = upload.send(1, b"x")
    assert upload.complete([etag], path=path).status_code == 200
    assert [file.path for file in space.client.list_artifacts(run_id)] == ["big.bin"]


def test_a_token_for_parts_is_good_for_those_of_its_upload_alone(
    space: Space, served: Served, run_id: str
) -> None:
    upload, other = (Upload(space, f"0/{run_id}/artifacts") for _ in range(2))
    url, headers = upload.credentials[0]["url"], upload.credentials[0]["headers"]
    assert headers["Authorization"].split()[1] not in url
    owner = {"Authorization": f"Bearer {served.token}"}
    strangers: tuple[tuple[dict[str, str], int], ...] = (
        (other.credentials[0]["headers"], 403), (owner, 403), ({}, 401),
        ({"Authorization": f"{headers['Authorization'][:-3]}xyz"}, 401),
    )  # fmt: skip
    with httpx2.Client(trust_env=False) as client:
        for given, status in strangers:
            assert client.put(url, headers=given, content=b"x").status_code == status
        base = f"{space.tracking}/api/2.0"
        for method, address in (
            ("GET", f"{base}/mlflow/runs/get?run_id={run_id}"),
            ("GET", f"{base}/mlflow-artifacts/artifacts?path=0/{run_id}/artifacts"),
            ("PUT", f"{base}/mlflow-artifacts/artifacts/0/{run_id}/artifacts/x"),
            ("POST", f"{base}/mlflow-artifacts/mpu/complete/0/{run_id}/artifacts"),
            ("GET", f"{space.http.base_url}"),
            ("GET", f"{served.address}/artifact/signed/{headers['Authorization'][7:]}/x"),
        ):
            answer = client.request(method, address, headers=headers)
            assert answer.status_code in (403, 404), address
        for number in (0, 4, 10_001):
            address = f"{url.rpartition('/')[0]}/{number}"
            assert client.put(address, headers=headers, content=b"x").status_code in (400, 404)
    assert left_behind(served, upload.id) == []


def test_an_upload_is_of_one_place_and_of_whom_may_write_there(
    space: Space, served: Served, run_id: str
) -> None:
    mine = f"0/{run_id}/artifacts"
    upload = Upload(space, mine, num_parts=1)
    etag = upload.send(1, b"x")
    assert upload.complete([etag], path="other.bin").status_code == 404
    script = {"Authorization": f"Bearer {begin_attempt(served, space, submit(space))}"}
    upload.more = {"headers": script}
    for refused in (
        upload.call("create", num_parts=1),
        upload.complete([etag]),
        upload.call("abort", upload_id=upload.id),
    ):
        assert (refused.status_code, refused.json()["error_code"]) == (
            404, "RESOURCE_DOES_NOT_EXIST",
        )  # fmt: skip
    upload.more = {}
    upload.folder = "elsewhere"
    assert upload.call("abort", upload_id=upload.id).status_code == 200
    upload.folder = mine
    assert upload.complete([etag]).status_code == 200


def test_a_script_uploads_in_parts_to_its_run_until_that_is_over(
    space: Space, served: Served
) -> None:
    job = submit(space)
    script = {"Authorization": f"Bearer {begin_attempt(served, space, job)}"}
    folder = f"0/{job}/artifacts"
    done, late = (Upload(space, folder, num_parts=1, headers=script) for _ in range(2))
    assert done.complete([done.send(1, b"x")]).status_code == 200
    etag = late.send(1, b"y")
    begin_attempt(served, space, job)
    assert late.complete([etag]).status_code == 410
    late.more = {}
    assert late.call("abort", upload_id=late.id).status_code == 200
    assert left_behind(served, late.id) == []


def test_files_of_the_run_stay_what_they_are(space: Space, served: Served, run_id: str) -> None:
    space.http.put(f"runs/{run_id}/files/big.bin", content=b"ours").raise_for_status()
    upload = Upload(space, f"0/{run_id}/artifacts", num_parts=1)
    refused = upload.complete([upload.send(1, b"x")])
    assert (refused.status_code, refused.json()["error_code"]) == (409, "RESOURCE_CONFLICT")
    assert upload.call("abort", upload_id=upload.id).status_code == 200
    assert space.http.get(f"runs/{run_id}/files/big.bin").content == b"ours"
    assert left_behind(served, upload.id) == []


def test_what_nobody_goes_on_with_counts_until_it_is_given_up(
    space: Space, served: Served, run_id: str
) -> None:
    upload = Upload(space, f"0/{run_id}/artifacts")
    upload.send(1, PARTS[0])
    upload.send(1, PARTS[1])
    sizes: list[int] = []

    async def work() -> None:
        async with served.api.database.session() as session:
            statement = select(func.sum(PartUpload.size_bytes)).where(PartUpload.id == upload.id)
            sizes.append((await session.execute(statement)).scalar_one())

    in_server(served, work())
    assert sizes == [len(PARTS[1])]
    assert upload.call("abort", upload_id=upload.id).status_code == 200
    with pytest.raises(httpx2.HTTPStatusError):
        upload.send(2, PARTS[1])
    assert left_behind(served, upload.id) == []
