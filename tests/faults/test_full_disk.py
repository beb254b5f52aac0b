"""The disk of the object store is full: said, nothing half is kept, and on it goes with room."""

import hashlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.live_api import live_api

pytestmark = pytest.mark.anyio
DATA = os.urandom(6 * 1024**2)
SHA256 = hashlib.sha256(DATA).hexdigest()


def _mount(*arguments: str | Path) -> bool:
    return subprocess.run(["mount", *map(str, arguments)], capture_output=True).returncode == 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder with room for four MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    if os.geteuid() != 0 or not _mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", folder):
        pytest.skip("only who may mount has a disk that is full")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.mark.fault(20)
async def test_a_full_disk_is_said_and_keeps_nothing_half(
    small_disk: Path, postgres_url: str, broker_url: str
) -> None:
    async with live_api(small_disk, postgres_url, broker_url) as api:
        for _ in range(2):
            answer = await api.client.put(f"blobs/{SHA256}", content=DATA)
            assert (answer.status_code, answer.json()["code"]) == (507, "storage_full")
            assert answer.headers["retry-after"]
        assert (await api.client.get(f"blobs/{SHA256}")).status_code == 404
        files = [p for p in api.objects.root.rglob("*") if p.is_file() and p.stat().st_size > 1024]
        assert files == []
        assert (await api.client.get("runs")).status_code == 200

        assert _mount("-o", "remount,size=32m", small_disk)
        assert (await api.client.put(f"blobs/{SHA256}", content=DATA)).status_code == 201
        assert (await api.client.get(f"blobs/{SHA256}")).content == DATA
