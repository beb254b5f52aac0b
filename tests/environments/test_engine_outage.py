"""The engine goes away in the middle of a build: the build goes on when it is back."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from app.environments.dockerfile import BUILD_LABEL, STAGE_LABEL
from tests import docker_engine
from tests.engines import Engine, segment
from tests.environments.docker_builds import ask_for, build, builder_of, spec_on
from tests.environments.index import PackageIndex, package_index
from tests.environments.test_images import image_reconcilers, wait_for
from tests.live_api import LiveApi, live_api

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]
_TOOLS = ("dockerd", "ip", "iptables", "nsenter", "setpriv", "unshare")


@pytest.fixture(scope="module")
def place() -> Iterator[tuple[Engine, PackageIndex]]:
    """An engine of our own, and a package index that its builds reach."""
    missing = [name for name in _TOOLS if shutil.which(name) is None]
    if missing or os.geteuid() != 0 or not docker_engine.answers():
        pytest.skip(f"no engine of one's own without root and {missing}: outages were NOT tested")
    docker_engine.base_image()
    with (
        segment() as network,
        network.engine("builder") as engine,
        package_index(network.gateway) as index,
    ):
        engine.load()
        yield engine, index


@pytest.fixture
async def api(
    tmp_path: Path,
    postgres_url: str,
    broker_url: str,
    place: tuple[Engine, PackageIndex],
    monkeypatch: pytest.MonkeyPatch,
) -> AsyncIterator[LiveApi]:
    engine, index = place
    monkeypatch.setenv("UV_DEFAULT_INDEX", index.url)
    settings: dict[str, Any] = {
        "provider": "docker",
        "docker_url": engine.url,
        "base_images": {"3.11": docker_engine.BASE_IMAGE},
    }
    async with live_api(
        tmp_path, postgres_url, broker_url, reconcilers=image_reconcilers, **settings
    ) as api:
        yield api


@pytest.mark.parametrize(("with_buildkit", "how"), [(True, "kill"), (False, "stop")])
async def test_a_build_goes_on_when_its_engine_is_back(
    api: LiveApi,
    place: tuple[Engine, PackageIndex],
    monkeypatch: pytest.MonkeyPatch,
    *,
    with_buildkit: bool,
    how: str,
) -> None:
    engine, index = place
    if not with_buildkit:
        monkeypatch.setattr("app.environments.builders.find_buildkit", lambda _: None)
    package = "p" + os.urandom(4).hex()
    index.add(package, "1.0")
    index.asked_while_closed.clear()
    index.open.clear()
    image_hash = await ask_for(api, package)
    assert await asyncio.to_thread(index.asked_while_closed.wait, 60)
    await asyncio.to_thread(getattr(engine, how))
    try:
        await wait_for_log(api, image_hash, "goes on when the engine is back")
    finally:
        index.open.set()
        await asyncio.to_thread(engine.start)
    image = await wait_for(api, image_hash, lambda one: one["state"] in ("Ready", "Failed"))
    assert (image["state"], image["build_number"]) == ("Ready", 1), image["error"]
    assert image["packages"] == {package: "1.0"}
    with closing(engine.client()) as client:
        names = [name for one in client.images() for name in one["RepoTags"] or []]
        assert not [name for name in names if "building-" in name]
        assert steps_of(client, image_hash) == []
        assert client.inspect_image(image["reference"])
    await api.client.delete(f"/images/{image_hash}")


def steps_of(client: docker.APIClient, image_hash: str) -> list[str]:
    """Containers of the steps of this build."""
    filters = {"label": f"{STAGE_LABEL}={image_hash}"}
    return [one["Id"] for one in client.containers(all=True, filters=filters)]


async def test_containers_of_steps_that_were_broken_off_are_removed(
    place: tuple[Engine, PackageIndex],
) -> None:
    engine, index = place
    index.open.set()
    package = "p" + os.urandom(4).hex()
    index.add(package, "1.0")
    spec = spec_on(docker_engine.BASE_IMAGE, package)
    labels = {BUILD_LABEL: "1", STAGE_LABEL: spec.spec_hash}
    builder = builder_of(
        with_buildkit=False, url=engine.url, environ={"UV_DEFAULT_INDEX": index.url}
    )
    with closing(engine.client()) as client:
        left = client.create_container(docker_engine.BASE_IMAGE, "true", labels=labels)["Id"]
        await build(builder, spec)
        assert steps_of(client, spec.spec_hash) == []
        assert left not in [one["Id"] for one in client.containers(all=True)]
    await asyncio.to_thread(builder.remove, spec.spec_hash)


async def test_the_cache_of_builds_is_bounded(place: tuple[Engine, PackageIndex]) -> None:
    engine, index = place
    index.open.set()
    names = [f"p{os.urandom(4).hex()}" for _ in range(2)]
    kept = {}
    for name, cache_bytes in zip(names, (None, 0), strict=True):
        index.add(name, "1.0")
        builder = builder_of(
            with_buildkit=True,
            url=engine.url,
            environ={"UV_DEFAULT_INDEX": index.url},
            cache_bytes=cache_bytes,
        )
        spec = spec_on(docker_engine.BASE_IMAGE, name)
        await build(builder, spec)
        with closing(engine.client()) as client:
            cached = client.df()["BuildCache"] or []
            kept[name] = sum(one["Size"] for one in cached if not one["InUse"])
        await asyncio.to_thread(builder.remove, spec.spec_hash)
    assert kept[names[0]] > 0
    assert kept[names[1]] == 0


async def wait_for_log(api: LiveApi, image_hash: str, words: str) -> None:
    async with asyncio.timeout(60):
        while words not in (await api.client.get(f"/images/{image_hash}/logs")).text:
            await asyncio.sleep(0.1)
