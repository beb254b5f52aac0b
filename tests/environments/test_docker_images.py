"""Images in a real Docker engine, asked for over the API."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.environments.built import BuildFailed
from app.environments.docker_builder import REPOSITORY, DockerImageBuilder
from app.environments.image_engine import ImageEngine
from app.environments.resolved import ResolvedSpec
from tests import docker_engine
from tests.environments.docker_builds import (
    ask_for,
    assert_nothing_of_the_build_is_in,
    builder_of,
    ca_file,
    named_base,
    run_in,
    tags_and_stages,
)
from tests.environments.test_images import ended, image_reconcilers, wait_for
from tests.live_api import LiveApi, live_api

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]
NAME = "trainwright-test/python:for-images"


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with named_base(NAME) as name:
        yield name


@pytest.fixture
async def api(
    tmp_path: Path, postgres_url: str, broker_url: str, base: str
) -> AsyncIterator[LiveApi]:
    async with live_api(
        tmp_path,
        postgres_url,
        broker_url,
        reconcilers=image_reconcilers,
        **image_settings(base),
    ) as api:
        yield api
        listed = (await api.client.get("/images")).json()["items"]
    for image in listed:
        await asyncio.to_thread(builder().remove, image["hash"])


def image_settings(base: str) -> dict[str, Any]:
    return {
        "provider": "docker",
        "docker_url": docker_engine.DOCKER_URL,
        "base_images": {"3.11": base, "3.10": "127.0.0.1:1/nothing:here"},
        "build_ca_file": ca_file(),
    }


def builder() -> DockerImageBuilder:
    return DockerImageBuilder(ImageEngine(docker_engine.DOCKER_URL))


async def reference_of(api: LiveApi, image_hash: str) -> str:
    return str((await api.client.get(f"/images/{image_hash}")).json()["reference"])


async def test_an_environment_is_built_explained_and_removed(api: LiveApi) -> None:
    image_hash = await ask_for(api, "six")
    image = await ended(api, image_hash)
    assert image["state"] == "Ready", image["error"]
    assert list(image["packages"]) == ["six"]
    assert image["lock"].startswith("six==")
    assert image["size_bytes"] > 0
    assert image["build_seconds"] > 0
    reference = await reference_of(api, image_hash)
    said = run_in(reference, "import six, sys; print(sys.prefix, six.__version__)")
    assert said == f"/opt/environment {image['packages']['six']}\n"
    log = (await api.client.get(f"/images/{image_hash}/logs")).text
    assert "uv pip install" in log, "what it printed is in the log where it was not cached"
    assert_nothing_of_the_build_is_in(reference)
    second = await ask_for(api, "six", "toml")
    because = (await ended(api, second))["built_because"]
    assert because["nearest_hash"] == image_hash
    assert because["differences"] == [{"input": "requirements", "added": ["toml"], "removed": []}]
    assert (await api.client.delete(f"/images/{image_hash}")).status_code == 204
    async with asyncio.timeout(90):
        while tags_and_stages(image_hash):
            await asyncio.sleep(0.1)
    assert tags_and_stages(second)
    assert await ask_for(api, "six") == image_hash
    again = await wait_for(api, image_hash, lambda one: bool(one["state"] == "Ready"))
    assert again["packages"] == image["packages"]


async def test_an_image_removed_from_the_engine_by_hand_is_built_again(api: LiveApi) -> None:
    image_hash = await ask_for(api, "toml")
    assert (await ended(api, image_hash))["state"] == "Ready"
    with closing(docker_engine.client()) as engine:
        engine.remove_image(f"{REPOSITORY}:{image_hash}")
    assert await ask_for(api, "toml") == image_hash
    image = await wait_for(
        api, image_hash, lambda one: (one["state"], one["build_number"]) == ("Ready", 2)
    )
    assert list(image["packages"]) == ["toml"]
    run_in(await reference_of(api, image_hash), "import toml")


@pytest.mark.fault(35)
async def test_a_base_image_that_cannot_be_pulled_fails_with_the_registrys_words(
    api: LiveApi,
) -> None:
    image = await ended(api, await ask_for(api, "six", python_version="3.10"))
    assert image["state"] == "Failed"
    assert image["error"]["code"] == "base_image_unavailable"
    assert "127.0.0.1:1/nothing:here" in image["error"]["message"]
    assert "connection refused" in image["error"]["message"]


async def test_packages_that_cannot_be_had_are_named(api: LiveApi) -> None:
    image_hash = await ask_for(api, "six==0.0.1.dev77")
    image = await ended(api, image_hash)
    assert image["error"]["code"] == "resolution_failed"
    assert "six==0.0.1.dev77" in image["error"]["message"]
    assert not tags_and_stages(image_hash), "a failed build leaves no name"


@pytest.mark.parametrize("with_buildkit", [True, False])
async def test_a_cancelled_build_ends_in_the_engine(base: str, *, with_buildkit: bool) -> None:
    spec = ResolvedSpec(
        python_version="3.11",
        requirements=("six @ http://192.0.2.1/six-1.0-py3-none-any.whl",),
        kind="docker",
        base=base,
    )
    installing = asyncio.Event()

    async def look(lines: bytes) -> None:
        if b"uv pip install" in lines:
            installing.set()

    builder = builder_of(with_buildkit=with_buildkit)
    build = asyncio.create_task(builder.build(spec, None, on_output=look))
    async with asyncio.timeout(90):
        await installing.wait()
        while not installs_in_builds():
            await asyncio.sleep(0.1)
    build.cancel()
    await asyncio.wait([build])
    assert build.cancelled()
    async with asyncio.timeout(90):
        while installs_in_builds():
            await asyncio.sleep(0.1)
    assert not tags_and_stages(spec.spec_hash)


def installs_in_builds() -> list[int]:
    """Processes of builds that install; the engine is on this machine."""
    found = []
    for process in psutil.process_iter(["cmdline"]):
        if "/trainwright/tools/uv" in (process.info["cmdline"] or [])[:1]:
            found.append(process.pid)
    return found


@pytest.mark.parametrize("with_buildkit", [True, False])
async def test_debian_packages_are_installed_before_all_others(
    base: str, *, with_buildkit: bool
) -> None:
    spec = ResolvedSpec(
        python_version="3.11", requirements=(), kind="docker", base=base, apt_packages=("tree",)
    )
    builder = builder_of(with_buildkit=with_buildkit)
    built = await builder.build(spec, None, on_output=drop)
    try:
        said = run_in(str(built.reference), "import shutil; print(shutil.which('tree'))")
        assert said == "/usr/bin/tree\n"
        assert_nothing_of_the_build_is_in(str(built.reference))
    finally:
        await asyncio.to_thread(builder.remove, spec.spec_hash)
    unknown = replace(spec, apt_packages=("no-such-package-77",))
    with pytest.raises(BuildFailed, match="Unable to locate package no-such-package-77") as caught:
        await builder.build(unknown, None, on_output=drop)
    assert caught.value.code == "resolution_failed"


async def drop(_: bytes) -> None:
    """Output that a test does not look at."""
