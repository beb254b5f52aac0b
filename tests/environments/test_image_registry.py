"""Images in a real, private registry."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, suppress
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from docker.errors import ImageNotFound

from app.environments import service
from app.environments.built import BuildFailed
from app.environments.docker_builder import REPOSITORY, DockerImageBuilder
from app.environments.image_engine import EngineRefused, ImageEngine
from app.environments.image_push import ImageRegistry
from app.environments.registry_api import RegistryUnavailable
from app.environments.resolved import ResolvedSpec
from app.providers.base import ImageMissing, ProviderError
from app.providers.docker.engine import EngineAddress
from app.providers.docker.engine import engine as provider_engine
from app.providers.docker.pull import pull_missing
from tests import docker_engine
from tests.environments.docker_builds import ask_for, build, tags_and_stages
from tests.environments.registry import PASSWORD, Registry, has_registry, private_registry
from tests.environments.test_images import ended, image_reconcilers, wait_for
from tests.live_api import LiveApi, live_api

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]

CANARY = "canary-of-the-package-index"


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    if not docker_engine.answers() or not has_registry():
        pytest.skip("no Docker engine or no docker-registry: registries were NOT tested")
    with private_registry(tmp_path_factory.mktemp("registry")) as running:
        yield running


@pytest.fixture(scope="module")
def private_base(registry: Registry) -> str:
    """A base image that is in the registry only."""
    name = f"{registry.address}/bases/python"
    try:
        image_id = docker_engine.base_image()
    except docker_engine.NoBaseImage as reason:
        pytest.skip(f"no base image, so registries were NOT tested: {reason}")
    with closing(docker_engine.client()) as engine:
        engine.tag(image_id, name, tag="3.11")
        login = {"username": "bird", "password": PASSWORD}
        pushed = engine.push(name, tag="3.11", auth_config=login, stream=True, decode=True)
        assert not [record for record in pushed if "error" in record]
        engine.remove_image(f"{name}:3.11")
    return f"{name}:3.11"


def spec(base: str) -> ResolvedSpec:
    return ResolvedSpec(python_version="3.11", requirements=(), kind="docker", base=base)


def builder(registry: Registry, *, credentials_file: Path | None) -> DockerImageBuilder:
    engine = ImageEngine(docker_engine.DOCKER_URL, credentials_file=credentials_file)
    return DockerImageBuilder(
        engine,
        registry=ImageRegistry(engine, f"{registry.address}/workspace/environments"),
        environ={"UV_DEFAULT_INDEX": f"http://bird:{CANARY}@index.example/simple"},
    )


async def test_a_private_base_and_a_push_with_credentials_that_nobody_sees(
    registry: Registry, private_base: str
) -> None:
    wanted = spec(private_base)
    working = builder(registry, credentials_file=registry.credentials_file)
    built, output = await build(working, wanted)
    try:
        assert built.reference is not None
        assert built.reference.startswith(f"{registry.address}/workspace/environments@sha256:")
        found = working.find(wanted.spec_hash)
        assert found is not None
        assert found.reference == built.reference, "adopted by whoever comes after a crash"
        with closing(docker_engine.client()) as engine:
            seen = str(engine.history(built.reference)) + str(engine.inspect_image(built.reference))
            assert PASSWORD not in seen + output
            assert CANARY not in seen + output
    finally:
        forget(wanted.spec_hash, f"{registry.address}/workspace/environments")
    with (
        pytest.raises(ProviderError, match="no basic auth credentials"),
        provider_engine(EngineAddress(docker_engine.DOCKER_URL)) as client,
    ):
        pull_missing(client, built.reference, None)
    with closing(docker_engine.client()) as engine:
        pull_missing(engine, built.reference, registry.credentials_file)
        assert engine.inspect_image(built.reference)["Size"] == built.size_bytes
        engine.remove_image(built.reference)
        await asyncio.to_thread(working.remove, wanted.spec_hash)
        with pytest.raises(ImageMissing, match="manifest unknown"):
            pull_missing(engine, built.reference, registry.credentials_file)
        await asyncio.to_thread(working.remove, wanted.spec_hash)  # what is gone is no error
        engine.remove_image(base_digest(registry, private_base))


def base_digest(registry: Registry, name: str) -> str:
    """``repository@digest`` of a base image, by which the engine holds it after a build."""
    engine = ImageEngine(docker_engine.DOCKER_URL, credentials_file=registry.credentials_file)
    return f"{name.rpartition(':')[0]}@{engine.registry_digest(name)}"


def forget(spec_hash: str, repository: str) -> None:
    """Remove an image from the engine, as somebody does by hand; the registry keeps it."""
    with closing(docker_engine.client()) as engine:
        engine.remove_image(f"{REPOSITORY}:{spec_hash}")
        engine.remove_image(f"{repository}:{spec_hash}")


@pytest.fixture
async def api(
    tmp_path: Path,
    postgres_url: str,
    broker_url: str,
    registry: Registry,
    private_base: str,
    request: pytest.FixtureRequest,
) -> AsyncIterator[LiveApi]:
    settings: dict[str, Any] = {
        "provider": "docker",
        "docker_url": docker_engine.DOCKER_URL,
        "base_images": {"3.11": private_base},
        "image_registry": f"{registry.address}/{REPOSITORY}",
        "registry_credentials_file": registry.credentials_file,
        "base_image_check_seconds": 0,
    }
    settings |= getattr(request, "param", {})
    async with live_api(
        tmp_path, postgres_url, broker_url, reconcilers=image_reconcilers, **settings
    ) as api:
        yield api
        for image in (await api.client.get("/images")).json()["items"]:
            await api.client.delete(f"/images/{image['hash']}")
            async with asyncio.timeout(30):
                while is_held(registry, image["hash"]):
                    await asyncio.sleep(0.1)


def builder_on(registry: Registry) -> DockerImageBuilder:
    engine = ImageEngine(docker_engine.DOCKER_URL, credentials_file=registry.credentials_file)
    return DockerImageBuilder(
        engine, registry=ImageRegistry(engine, f"{registry.address}/{REPOSITORY}")
    )


def is_in_registry(registry: Registry, reference: str) -> bool:
    engine = ImageEngine(docker_engine.DOCKER_URL, credentials_file=registry.credentials_file)
    try:
        engine.registry_digest(reference)
    except EngineRefused as error:
        if "manifest unknown" in error.words:
            return False
        raise
    return True


def is_held(registry: Registry, image_hash: str) -> bool:
    """Whether the engine or the registry has anything of an image."""
    name = f"{registry.address}/{REPOSITORY}:{image_hash}"
    return bool(tags_and_stages(image_hash)) or is_in_registry(registry, name)


async def test_a_tag_that_moved_gives_another_image(
    api: LiveApi, registry: Registry, private_base: str
) -> None:
    first = await ended(api, await ask_for(api))
    before = first["inputs"]["base_digest"]
    assert before == base_digest(registry, private_base).partition("@")[2]
    assert await ask_for(api) == first["hash"], "looked up again, and found as it was"
    move(private_base)
    second = await ended(api, await ask_for(api))
    after = second["inputs"]["base_digest"]
    assert second["hash"] != first["hash"]
    assert second["built_because"] == {
        "nearest_hash": first["hash"],
        "differences": [{"input": "base_digest", "added": [after], "removed": [before]}],
    }
    with closing(docker_engine.client()) as engine:
        labels = engine.inspect_image(second["reference"])["Config"]["Labels"]
        assert labels["org.opencontainers.image.base.name"] == private_base
        assert labels["org.opencontainers.image.base.digest"] == after
        assert labels["moved"] == "yes"
        repository = private_base.rpartition(":")[0]
        for digest in (before, after):
            with suppress(ImageNotFound):
                engine.remove_image(f"{repository}@{digest}", force=True)


def move(name: str) -> None:
    """Have a tag of the registry name something else."""
    text = f"FROM {docker_engine.BASE_IMAGE}\nLABEL moved=yes\n".encode()
    repository, _, tag = name.rpartition(":")
    login = {"username": "bird", "password": PASSWORD}
    with closing(docker_engine.client()) as engine:
        for record in engine.build(fileobj=BytesIO(text), tag=name, decode=True, rm=True):
            assert "error" not in record, record
        pushed = engine.push(repository, tag=tag, auth_config=login, stream=True, decode=True)
        assert not [record for record in pushed if "error" in record]
        engine.remove_image(name)


async def test_an_image_that_is_nowhere_any_more_is_built_again(
    api: LiveApi, registry: Registry
) -> None:
    image = await ended(api, await ask_for(api))
    await asyncio.to_thread(builder_on(registry).remove, image["hash"])
    assert not is_in_registry(registry, image["reference"])
    async with api.database.session() as session:
        await service.replace_lost(session, image["hash"], "another reference")
    number = image["build_number"]
    assert (await ended(api, image["hash"]))["build_number"] == number
    async with api.database.session() as session:
        await service.replace_lost(session, image["hash"], image["reference"])
    again = await wait_for(
        api, image["hash"], lambda one: (one["state"], one["build_number"]) == ("Ready", number + 1)
    )
    assert is_in_registry(registry, again["reference"])


@pytest.mark.parametrize("api", [{"image_keep_days": 10 / 86400}], indirect=True)
async def test_an_unused_image_leaves_engine_and_registry(api: LiveApi, registry: Registry) -> None:
    image_hash = await ask_for(api)
    image = await wait_for(api, image_hash, lambda one: one["reference"] is not None)
    assert is_in_registry(registry, image["reference"])
    await wait_for(api, image_hash, lambda one: bool(one["state"] == "Deleted"))
    async with asyncio.timeout(30):
        while is_held(registry, image_hash):
            await asyncio.sleep(0.1)


async def test_a_registry_that_does_not_delete_says_so(
    tmp_path: Path, private_base: str, registry: Registry
) -> None:
    with private_registry(tmp_path, deletes=False) as stubborn:
        engine = ImageEngine(docker_engine.DOCKER_URL, credentials_file=stubborn.credentials_file)
        working = DockerImageBuilder(
            engine, registry=ImageRegistry(engine, f"{stubborn.address}/{REPOSITORY}")
        )
        wanted = spec(docker_engine.BASE_IMAGE)
        await build(working, wanted)
        with pytest.raises(RegistryUnavailable, match="REGISTRY_STORAGE_DELETE_ENABLED"):
            await asyncio.to_thread(working.remove, wanted.spec_hash)
        assert not tags_and_stages(wanted.spec_hash), "it is gone from the engine all the same"


@pytest.mark.fault(35)
async def test_the_registrys_words_without_credentials(
    registry: Registry, private_base: str
) -> None:
    with pytest.raises(BuildFailed, match="no basic auth credentials") as caught:
        await build(builder(registry, credentials_file=None), spec(private_base))
    assert caught.value.code == "base_image_unavailable"


async def test_a_push_that_is_refused_leaves_no_name(registry: Registry, private_base: str) -> None:
    with closing(docker_engine.client()) as engine:
        engine.tag(docker_engine.base_image(), "trainwright-test/python", tag="for-push")
    wanted = spec("trainwright-test/python:for-push")
    working = builder(registry, credentials_file=None)
    with pytest.raises(BuildFailed, match="no basic auth credentials") as caught:
        await build(working, wanted)
    assert caught.value.code == "push_failed"
    assert working.find(wanted.spec_hash) is None
    with closing(docker_engine.client()) as engine:
        left = engine.images(filters={"label": f"trainwright.environment={wanted.spec_hash}"})
        engine.remove_image("trainwright-test/python:for-push")
    with pytest.raises(RegistryUnavailable, match="401"):
        working.remove(wanted.spec_hash)
    assert not left
