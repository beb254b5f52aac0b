"""What a changed package costs: counted at the package index, and read in what the builder says."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from app.environments.built import BuiltImage
from tests import docker_engine
from tests.environments.docker_builds import (
    assert_nothing_of_the_build_is_in,
    build,
    builder_of,
    named_base,
    spec_on,
)
from tests.environments.index import PackageIndex, package_index

pytestmark = [pytest.mark.anyio, pytest.mark.docker, pytest.mark.slow, pytest.mark.timeout(600)]
NAME = "trainwright-test/python:for-reinstalls"
FRAMEWORK = "tensorflow-cpu==2.15.0"


@pytest.fixture
def base() -> Iterator[str]:
    with named_base(NAME) as name:
        yield name


@pytest.fixture
def index(base: str) -> Iterator[PackageIndex]:
    """An index that builds reach, with something small that has the framework's name."""
    with package_index(docker_engine.bridge_address()) as served:
        served.add("tensorflow_cpu", "2.15.0")
        yield served


def downloads(index: PackageIndex) -> list[str]:
    """The wheels that were fetched since the last look."""
    found = sorted({path.rsplit("/")[-1] for path in index.requests if "/files/" in path})
    index.requests.clear()
    return [name.split("-py3")[0] for name in found]


@pytest.mark.parametrize("with_buildkit", [True, False])
async def test_one_changed_package_fetches_itself_alone(
    base: str, index: PackageIndex, *, with_buildkit: bool
) -> None:
    tail = os.urandom(3).hex()
    bird, fish, moth, frog = names = [f"{name}{tail}" for name in ("bird", "fish", "moth", "frog")]
    for name in names:
        index.add(name, "1.0")
    index.add(fish, "1.1")
    builder = builder_of(with_buildkit=with_buildkit, environ={"UV_DEFAULT_INDEX": index.url})
    hashes: list[str] = []

    async def built(*requirements: str) -> tuple[BuiltImage, str]:
        lines = [FRAMEWORK, *requirements]
        spec = spec_on(base, *lines, framework="tensorflow", framework_version="2.15.0")
        hashes.append(spec.spec_hash)
        return await build(builder, spec)

    try:
        await built(bird, f"{fish}==1.0", moth)
        assert len(downloads(index)) == 4
        for changed, fetched in (
            ((bird, f"{fish}==1.1", moth), f"{fish}-1.1"),
            ((bird, f"{fish}==1.1", moth, frog), f"{frog}-1.0"),
        ):
            image, output = await built(*changed)
            assert downloads(index) == [fetched]
            assert "Prepared 1 package " in output
            assert _is_cached(output, "framework.txt")
            assert image.packages.keys() >= {bird, fish, moth, "tensorflow-cpu"}
            assert_nothing_of_the_build_is_in(str(image.reference))
        await built(f"{fish}==1.1", moth, frog)
        assert downloads(index) == [], "without a package nothing is fetched at all"
    finally:
        for spec_hash in hashes:
            await asyncio.to_thread(builder.remove, spec_hash)


def _is_cached(output: str, step: str) -> bool:
    """Whether the builder says that a step's layer was there already."""
    lines = output.splitlines()
    for number, line in enumerate(lines):
        if "RUN" in line and line.endswith(step):
            following = lines[number : number + 3]
            return any("CACHED" in one or "Using cache" in one for one in following)
    return False
