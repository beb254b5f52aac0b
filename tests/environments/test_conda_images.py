"""Packages of conda in container images, from a channel of our own."""

import asyncio
import io
import os
import tarfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from app.environments.build_files import conda_order, full_lock
from app.environments.built import BuildFailed
from app.environments.machine import this_machine
from app.environments.resolve import resolve
from app.environments.spec import EnvironmentSpec
from app.kernel.config import Settings
from tests import docker_engine
from tests.environments.conda_channel import CondaChannel
from tests.environments.docker_builds import build, builder_of, named_base, run_in, spec_on

BASE = "trainwright-test/python:for-conda"
WITH_CHANNEL = "trainwright-test/python:with-conda-channel"
# Another one each time, lest the builder remembers the step.
VERSION = f"1.{int.from_bytes(os.urandom(3))}"
HERON = {"lib/python3.11/site-packages/heron.py": f"VERSION = {VERSION!r}\n"}
FIELDS = {"conda_packages": ["heron"], "conda_channels": ["birds"]}


def test_conda_packages_need_no_conda_where_environments_are_images() -> None:
    settings = Settings(provider="docker", base_images={"3.11": "a", "conda": "b"})
    spec = EnvironmentSpec(conda_packages=["heron"], python_version="3.7", pip_packages=["six"])
    resolved = resolve(spec, this_machine(settings))
    assert (resolved.base, resolved.python_version) == ("b", "3.7")
    assert resolved.conda_channels == ("conda-forge",)
    plain = resolve(EnvironmentSpec(conda_packages=["heron"]), this_machine(settings))
    assert plain.base == "b"


def test_an_order_names_channels_python_and_what_a_lock_says() -> None:
    spec = spec_on("a", **{**FIELDS, "conda_channels": ["birds", "defaults"]})
    lock = full_lock("six==1.16.0\nheron @ file:///home/conda/heron\n",
                     [{"name": "heron", "version": "1.5", "build": "0"}])  # fmt: skip
    assert lock == "# conda: heron 1.5 0\nsix==1.16.0\n"
    order = conda_order(spec, "/here", channel_alias="https://mirror.example/conda", lock=lock)
    assert '"channel_alias": "https://mirror.example/conda/"' in order
    assert '"specifications": ["python=3.11", "heron", "heron 1.5 0"]' in order
    assert '"https://repo.anaconda.com/pkgs/main"' in order


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A base image that holds the channel, as a folder."""
    folder = tmp_path_factory.mktemp("channel")
    channel = CondaChannel(folder / "channels" / "birds")
    channel.add_python("3.11.2")
    channel.add("heron", VERSION, files=HERON, depends=["python >=3.11,<3.12"])
    with named_base(BASE), closing(docker_engine.client()) as engine:
        context = _context(folder)
        built = engine.build(fileobj=context, custom_context=True, tag=WITH_CHANNEL, decode=True)
        assert not [record for record in built if "error" in record]
        yield WITH_CHANNEL
        engine.remove_image(WITH_CHANNEL)


def _context(folder: Path) -> io.BytesIO:
    (folder / "Dockerfile").write_text(f"FROM {BASE}\nCOPY channels /channels\n")
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        tar.add(folder, arcname=".")
    packed.seek(0)
    return packed


@pytest.mark.anyio
@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("with_buildkit", [True, False])
async def test_conda_and_pip_packages_in_one_image(base: str, *, with_buildkit: bool) -> None:
    builder = builder_of(with_buildkit=with_buildkit, channel_alias="file:///channels")
    spec = spec_on(base, "six", **FIELDS)
    built, output = await build(builder, spec)
    try:
        assert f"/channels/birds/linux-64/heron-{VERSION}-0.tar.bz2" in output
        assert built.packages.keys() == {"python", "heron", "six"}
        assert f"# conda: heron {VERSION} 0\n" in built.lock
        code = "import heron, six, sys; print(sys.prefix, heron.VERSION)"
        assert run_in(built.reference, code) == f"/opt/environment {VERSION}\n"
    finally:
        await asyncio.to_thread(builder.remove, spec.spec_hash)


@pytest.mark.anyio
@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_conda_package_that_cannot_be_had_is_named(base: str) -> None:
    builder = builder_of(with_buildkit=False, channel_alias="file:///channels")
    spec = spec_on(base, **{**FIELDS, "conda_packages": ["heron=9"]})
    with pytest.raises(BuildFailed, match="No candidates were found for heron 9") as caught:
        await build(builder, spec)
    assert caught.value.code == "resolution_failed"
