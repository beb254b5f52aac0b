"""Downloads of artifacts: ranges, conditions and heads, at each address that MLflow knows."""

import hashlib

import pytest

from tests.mlflow.conftest import Space

CONTENT = b"0123456789"
ETAG = f'"{hashlib.sha256(CONTENT).hexdigest()}"'


@pytest.fixture(params=["run", "model", "workspace", "pages"])
def file(request: pytest.FixtureRequest, space: Space) -> str:
    """Return the address of a file."""
    run_id = space.client.create_run("0").info.run_id
    model_id = space.client.create_logged_model("0", "alone").model_id
    below = {
        "run": f"0/{run_id}/artifacts/d/f.bin",
        "model": f"0/models/{model_id}/artifacts/d/f.bin",
        "workspace": "d/f.bin",
        "pages": f"0/{run_id}/artifacts/d/f.bin",
    }[request.param]
    address = f"{space.tracking}/api/2.0/mlflow-artifacts/artifacts/{below}"
    space.http.put(address, content=CONTENT).raise_for_status()
    if request.param == "pages":
        return f"{space.tracking}/get-artifact?run_id={run_id}&path=d/f.bin"
    return address


@pytest.mark.parametrize(
    ("wanted", "status", "content", "place"),
    [
        ("bytes=0-3", 206, b"0123", "bytes 0-3/10"),
        ("bytes=4-", 206, b"456789", "bytes 4-9/10"),
        ("bytes=-2", 206, b"89", "bytes 8-9/10"),
        ("bytes=9-100", 206, b"9", "bytes 9-9/10"),
        ("bytes=0-1,3-4", 200, CONTENT, None),
        ("lines=0-1", 200, CONTENT, None),
    ],
)
def test_a_range_is_sent(
    space: Space, file: str, wanted: str, status: int, content: bytes, place: str | None
) -> None:
    answer = space.http.get(file, headers={"Range": wanted})
    assert (answer.status_code, answer.content) == (status, content)
    assert answer.headers.get("content-range") == place
    asked = space.http.head(file, headers={"Range": wanted})
    assert (asked.status_code, asked.content) == (status, b"")
    assert asked.headers["content-length"] == str(len(content))


def test_a_range_behind_the_end_is_refused(space: Space, file: str) -> None:
    refused = space.http.get(file, headers={"Range": "bytes=20-"})
    assert (refused.status_code, refused.headers["content-range"]) == (416, "bytes */10")
    assert "error_code" in refused.json()


def test_what_the_client_has_already_is_not_sent(space: Space, file: str) -> None:
    assert space.http.get(file).headers["etag"] == ETAG
    for known in (ETAG, f"W/{ETAG}", f'"x", {ETAG}', "*"):
        answer = space.http.get(file, headers={"If-None-Match": known})
        assert (answer.status_code, answer.content) == (304, b"")
    assert space.http.get(file, headers={"If-None-Match": '"x"'}).content == CONTENT
    for known, status in ((ETAG, 206), ('"x"', 200)):
        answer = space.http.get(file, headers={"If-Range": known, "Range": "bytes=0-1"})
        assert answer.status_code == status


def test_what_is_not_there_has_no_head(space: Space, file: str) -> None:
    assert space.http.head(file).headers["content-length"] == "10"
    assert space.http.head(file.replace("f.bin", "none")).status_code == 404
