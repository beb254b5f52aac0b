"""The longest paths fit into every key that they are part of; longer ones are refused."""

import random
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote

import pytest

from app.storage.paths import MAX_COMPONENT_BYTES, MAX_PATH_BYTES
from tests.live_api import LiveApi, live_api
from tests.logs.nodes import start_nodes
from tests.made_runs import make_runs

pytestmark = pytest.mark.anyio
IDEOGRAPHS = [chr(code) for code in range(0x4E00, 0x9FA5)]  # three bytes each


@pytest.fixture
async def api(tmp_path: Path, postgres_url: str, broker_url: str) -> AsyncIterator[LiveApi]:
    async with live_api(tmp_path, postgres_url, broker_url) as api:
        yield api


def path_of(size_bytes: int, *, begin: str) -> str:
    """A path that nothing can compress, as keys are."""
    signs = random.Random(size_bytes)
    path = begin
    while (left := size_bytes - len(path.encode())) > 0:
        part = min(MAX_COMPONENT_BYTES, left - 1)
        path += "/" + "".join(signs.choices(IDEOGRAPHS, k=part // 3)) + "x" * (part % 3)
    assert len(path.encode()) == size_bytes
    return path


@pytest.mark.parametrize(
    "prefix", ["runs/{run}/files/", "mlflow/api/2.0/mlflow-artifacts/artifacts/"]
)
async def test_files(api: LiveApi, prefix: str) -> None:
    (run_id,) = await make_runs(api, 1)
    folder = prefix.format(run=run_id)
    for size_bytes, status in ((MAX_PATH_BYTES, (200, 201)), (MAX_PATH_BYTES + 1, (400, 422))):
        path = quote(path_of(size_bytes, begin="outputs"))
        answer = await api.client.put(folder + path, content=b"x")
        assert answer.status_code in status, answer.text
    assert "path_too_long" in answer.text or "longer than" in answer.text


async def test_what_nodes_send(api: LiveApi) -> None:
    (run_id,) = await make_runs(api, 1)
    (node,) = await start_nodes(api, run_id, 1)
    longest, longer = (path_of(size, begin="logs") for size in (MAX_PATH_BYTES, MAX_PATH_BYTES + 1))
    assert (await node.send(b"a line\n", offset=0, stream=longest)).status_code == 200
    refused = await node.send(b"a line\n", offset=0, stream=longer)
    assert (refused.status_code, refused.json()["errors"][0]["code"]) == (422, "path_too_long")
    kept = await api.client.get(f"runs/{run_id}/logs", params={"stream": longest})
    assert kept.text == "a line\n"
