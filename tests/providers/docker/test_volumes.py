"""Volumes with the content of inputs: filled once, read by many, removed when nobody reads."""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest

from app.providers.base import InputMount, NotYetRemoved, VolumeMissing
from app.providers.docker.engine import EngineAddress
from app.providers.docker.gateway import gateway_address
from app.providers.docker.provider import DockerProvider
from app.storage.errors import ObjectMissing
from app.storage.objects import ObjectStore
from app.storage.tree_archive import tree_archive
from tests import docker_engine
from tests.providers.contract.conftest import World
from tests.runner.node_api import NodeApi
from workers.process import RUNNER

pytestmark = [pytest.mark.anyio, pytest.mark.docker]
_READ = """
import os, pathlib
root = pathlib.Path("/mnt/inputs/digits")
print(sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()))
print((root / "deep/er/b.bin").stat().st_size, (root / "a.txt").read_text())
for path in ("/mnt/inputs/digits/new", "/mnt/inputs/digits/a.txt"):
    try:
        open(path, "w")
    except OSError as error:
        print(error.strerror)
"""


@dataclass(frozen=True)
class File:
    path: str
    sha256: str
    size_bytes: int


@pytest.fixture
async def world(docker_image: str) -> AsyncIterator[World]:
    owner = f"test-{os.urandom(6).hex()}"
    address = EngineAddress(docker_engine.DOCKER_URL)
    provider = DockerProvider(address, owner=owner, runner=RUNNER)
    api = NodeApi(gateway_address(docker_engine.DOCKER_URL))
    yield World(provider, api, "python3", docker_image, owner)
    for name in await provider.list_names():
        await provider.remove(name)
    for name in await provider.list_volumes():
        await provider.remove_volume(name)
    api.close()


async def stored(objects: ObjectStore, contents: dict[str, bytes]) -> list[File]:
    files = []
    for path, content in contents.items():
        made = await objects.put_bytes(content)
        files.append(File(path, made.sha256, made.size_bytes))
    return files


async def test_a_node_reads_what_a_volume_was_filled_with_and_cannot_change_it(
    world: World, tmp_path: Path
) -> None:
    objects = ObjectStore(tmp_path)
    files = await stored(objects, {"a.txt": b"hello", "deep/er/b.bin": b"x" * 3_000_001})
    name = f"tw-data-{world.owner}"
    provider = world.provider
    assert isinstance(provider, DockerProvider)
    assert world.image is not None

    await provider.fill_volume(name, tree_archive(objects, files), image=world.image)
    spec = world.spec(script=_READ, inputs=(InputMount(name, "/mnt/inputs/digits"),))
    await provider.ensure(spec)

    await asyncio.to_thread(world.api.event, "finished")
    said = world.api.text().splitlines()
    assert said[:2] == ["['a.txt', 'deep/er/b.bin']", "3000001 hello"]
    assert said[2:] == ["Read-only file system"] * 2
    with pytest.raises(NotYetRemoved):
        await provider.remove_volume(name)
    await provider.remove(spec.name)
    assert await provider.list_names() == []
    assert await provider.list_volumes() == [name]
    await provider.remove_volume(name)
    await provider.remove_volume(name)
    assert await provider.list_volumes() == []


async def test_a_volume_that_cannot_be_filled_is_not_there(world: World, tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path)
    files = await stored(objects, {"a": b"hello", "b": b"world"})
    (tmp_path / "sha256" / files[1].sha256[:2] / files[1].sha256).unlink()
    provider = world.provider
    assert isinstance(provider, DockerProvider)
    assert world.image is not None

    with pytest.raises(ObjectMissing, match="b: object"):
        await provider.fill_volume(
            f"tw-data-{world.owner}", tree_archive(objects, files), image=world.image
        )

    assert await provider.list_volumes() == []
    with closing(docker_engine.client()) as client:
        labels = {"label": f"trainwright.owner={world.owner}"}
        assert client.containers(all=True, filters=labels) == []


async def test_a_node_is_not_started_on_a_volume_that_is_gone(world: World) -> None:
    spec = world.spec(inputs=(InputMount("tw-data-gone", "/mnt/inputs/digits"),))

    with pytest.raises(VolumeMissing, match="tw-data-gone"):
        await world.provider.ensure(spec)

    assert await world.provider.list_names() == []


async def test_a_fill_that_was_cut_off_is_begun_anew(world: World, tmp_path: Path) -> None:
    objects = ObjectStore(tmp_path)
    files = await stored(objects, {"a": b"hello"})
    provider = world.provider
    assert isinstance(provider, DockerProvider)
    assert world.image is not None
    name = f"tw-data-{world.owner}"

    def cut_off() -> Iterator[bytes]:
        yield next(tree_archive(objects, files))
        raise ObjectMissing("it went away meanwhile")

    with pytest.raises(ObjectMissing):
        await provider.fill_volume(name, cut_off(), image=world.image)
    # What a worker that was killed would have left.
    with closing(docker_engine.client()) as client:
        labels = {"trainwright.owner": world.owner, "trainwright.input": name}
        client.create_volume(name, labels=labels)
        host = client.create_host_config(binds=[f"{name}:/content"])
        client.create_container(
            world.image, ["true"], name=name, labels=labels, host_config=host, volumes=["/content"]
        )

    await provider.fill_volume(name, tree_archive(objects, files), image=world.image)

    spec = world.spec(
        script="print(open('/mnt/inputs/d/a').read())", inputs=(InputMount(name, "/mnt/inputs/d"),)
    )
    await provider.ensure(spec)
    await asyncio.to_thread(world.api.event, "finished")
    assert world.api.text() == "hello\n"
