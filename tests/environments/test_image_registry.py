"""Images in a real, private registry."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.environments.docker_builder import REPOSITORY, DockerImageBuilder
from app.environments.image_engine import ImageEngine
from app.environments.image_push import ImageRegistry
from app.environments.registry_api import RegistryUnavailable
from app.environments.resolved import ResolvedSpec
from app.environments.venv_builder import BuildFailed, BuiltImage
from app.providers.base import ImageMissing, ProviderError
from app.providers.docker.engine import EngineAddress
from app.providers.docker.engine import engine as provider_engine
from app.providers.docker.pull import pull_missing
from tests import docker_engine
from tests.environments.registry import PASSWORD, Registry, has_registry, private_registry

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.slow]

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


async def build(builder: DockerImageBuilder, spec: ResolvedSpec) -> tuple[BuiltImage, str]:
    output: list[bytes] = []

    async def keep(lines: bytes) -> None:
        output.append(lines)

    built = await builder.build(spec, None, on_output=keep)
    return built, b"".join(output).decode()


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
