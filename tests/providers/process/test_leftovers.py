"""What scripts leave in a node's folder goes with it, whatever they made of it."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.providers.base import ProviderError
from app.providers.process import provider as of_processes
from app.providers.process.provider import ProcessProvider
from workers.process import RUNNER

pytestmark = pytest.mark.anyio
_NODE = "tw-run-a1-n0"
_NOBODY = 65534


@pytest.fixture
def nodes() -> Iterator[Path]:
    """Where nodes lie, as somebody whom permissions bind."""
    is_root = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as folder:
        if is_root:
            os.chown(folder, _NOBODY, -1)
            os.seteuid(_NOBODY)
        try:
            yield Path(folder)
        finally:
            if is_root:
                os.seteuid(0)


def node(nodes: Path) -> Path:
    folder = nodes / _NODE
    folder.mkdir()
    (folder / "lock").touch()
    return folder


async def test_folders_that_nobody_may_enter_are_removed(nodes: Path) -> None:
    locked = node(nodes) / "work" / "locked"
    (locked / "inner").mkdir(parents=True)
    (locked / "inner" / "file").touch()
    (locked / "inner").chmod(0)
    locked.chmod(0)
    provider = ProcessProvider(nodes, runner=RUNNER)

    await provider.remove(_NODE)

    assert await provider.list_names() == []


async def test_folders_of_any_depth_are_removed(nodes: Path) -> None:
    back = os.getcwd()
    os.chdir(node(nodes))
    try:
        for level in range(1500):
            name = f"folder-{level}"
            os.mkdir(name)
            os.chdir(name)
        Path("file").touch()
    finally:
        os.chdir(back)
    provider = ProcessProvider(nodes, runner=RUNNER)

    await provider.remove(_NODE)

    assert await provider.list_names() == []


async def test_what_links_lead_to_stays(nodes: Path) -> None:
    elsewhere = nodes / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "kept").touch()
    elsewhere.chmod(0o500)
    folder = node(nodes)
    (folder / "link").symlink_to(elsewhere)
    (folder / "file").symlink_to(elsewhere / "kept")

    await ProcessProvider(nodes, runner=RUNNER).remove(_NODE)

    assert not folder.exists()
    assert (elsewhere / "kept").exists()
    assert elsewhere.stat().st_mode & 0o777 == 0o500
    elsewhere.chmod(0o700)


async def test_what_cannot_be_removed_is_told(nodes: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = node(nodes)

    def refuse(path: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(path))

    monkeypatch.setattr(of_processes, "remove_tree", refuse)
    provider = ProcessProvider(nodes, runner=RUNNER)

    with pytest.raises(ProviderError, match="cannot be removed"):
        await provider.remove(_NODE)

    assert folder.exists()
