"""Environments with a base of their own: a named image, a Dockerfile, or one that has it all."""

import asyncio
import io
import zipfile
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from app.environments.built import BuildFailed
from app.environments.errors import (
    BaseImageNotAllowed,
    ContainerImagesNeeded,
    DockerfileNotAllowed,
)
from app.environments.machine import this_machine
from app.environments.resolve import resolve
from app.environments.resolved import ResolvedSpec
from app.environments.spec import EnvironmentSpec
from app.kernel.config import Settings
from app.kernel.errors import DomainError
from tests import docker_engine
from tests.environments.docker_builds import build, builder_of, named_base, run_in, spec_on
from tests.environments.test_spec import error_of
from tests.live_api import live_api

DIGEST = "sha256:" + "0" * 64
NAME = "trainwright-test/python:for-own-bases"


def resolved(**fields: Any) -> ResolvedSpec:
    settings = Settings(
        provider="docker",
        base_images={"3.11": "python:3.11-slim"},
        allowed_base_images=["company/*", "python:3.9@*"],
        allow_dockerfiles=True,
    )
    return resolve(EnvironmentSpec(**fields), this_machine(settings), pointer="/environment")


def refusal(error: type[DomainError], provider: str = "docker", **fields: Any) -> tuple[str, str]:
    settings = Settings(provider=provider, base_images={"3.11": "python:3.11-slim"})
    with pytest.raises(error) as caught:
        resolve(EnvironmentSpec(**fields), this_machine(settings), pointer="/environment")
    return caught.value.errors[0].pointer, caught.value.detail


def test_a_base_of_ones_own_is_refused_unless_the_operator_allows_it() -> None:
    pointer, words = refusal(BaseImageNotAllowed, base_image="company/python:3")
    assert pointer == "/environment/base_image"
    assert "TRAINWRIGHT_ALLOWED_BASE_IMAGES" in words
    pointer, words = refusal(DockerfileNotAllowed, dockerfile="FROM python:3.11\n")
    assert pointer == "/environment/dockerfile"
    assert "TRAINWRIGHT_ALLOW_DOCKERFILES" in words
    pointer, _ = refusal(ContainerImagesNeeded, "process", base_image="python:3.11")
    assert pointer == "/environment/base_image"
    with pytest.raises(BaseImageNotAllowed, match="allowed: company/"):
        resolved(base_image="elsewhere.example/company/python:3")


@pytest.mark.anyio
async def test_a_run_with_a_base_that_is_not_allowed_is_refused(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    settings: dict[str, Any] = {"provider": "docker", "base_images": {"3.11": "python:3.11"}}
    async with live_api(tmp_path, postgres_url, broker_url, **settings) as api:
        await api.client.put("clusters/cpu", json={"vm_size": "small"})
        source = io.BytesIO()
        with zipfile.ZipFile(source, "w") as archive:
            archive.writestr("train.py", "print(1)")
        snapshot = await api.client.put("snapshots", content=source.getvalue())
        run = {
            "experiment_name": "digits",
            "cluster_name": "cpu",
            "snapshot_id": snapshot.json()["id"],
            "entry_script": "train.py",
        }
        for field, value, code in (
            ("base_image", "company/python:3", "base_image_not_allowed"),
            ("dockerfile", "FROM python:3.11", "dockerfile_not_allowed"),
        ):
            answer = await api.client.post("runs", json=run | {"environment": {field: value}})
            problem = answer.json()
            assert (answer.status_code, problem["code"]) == (403, code)
            assert problem["errors"][0]["pointer"] == f"/environment/{field}"
        assert (await api.client.get("runs")).json()["items"] == []
        assert (await api.client.get("images")).json()["items"] == []


def test_what_an_allowed_base_means() -> None:
    named = resolved(base_image="company/python:3", pip_packages=["six"])
    assert (named.base, named.base_digest, named.python_version) == ("company/python:3", None, "")
    exact = resolved(base_image=f"python:3.9@{DIGEST}", python_version="3.9")
    assert (exact.base_digest, exact.python_version) == (DIGEST, "3.9")
    built = resolved(dockerfile="FROM x\n", framework="tensorflow", python_version="3.8")
    assert (built.base, built.dockerfile, built.framework_version) == (None, "FROM x\n", "2.13")
    hashes = {one.spec_hash for one in (named, exact, built, resolved(dockerfile="FROM y\n"))}
    assert len(hashes) == 4
    for one in (named, exact, built):
        assert ResolvedSpec.from_canonical(one.canonical()) == one


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"base_image": "Python:3"}, "image_name_invalid"),
        ({"base_image": "python:3 --privileged"}, "image_name_invalid"),
        ({"base_image": "python@sha256:12"}, "image_name_invalid"),
        ({"base_image": "a/b", "dockerfile": "FROM a"}, "base_conflict"),
        ({"user_managed": True}, "base_missing"),
        ({"user_managed": True, "base_image": "a/b", "pip_packages": ["x"]},
         "user_managed_packages"),
        ({"base_image": "a/b", "framework": "tensorflow"}, "python_version_missing"),
    ],
)  # fmt: skip
def test_what_makes_no_base(fields: dict[str, Any], code: str) -> None:
    assert error_of(**fields)[1] == code


def test_debian_packages_may_be_added_to_a_user_managed_image() -> None:
    spec = resolved(base_image="company/it:1", user_managed=True, apt_packages=["tree"])
    assert (spec.user_managed, spec.apt_packages) == (True, ("tree",))


def test_names_of_images_are_taken() -> None:
    for name in ("python", "python:3.11-slim", "localhost:5000/a/b", f"a.example/b@{DIGEST}",
                 f"a/b__c-d:1@{DIGEST}", "tensorflow/tensorflow:2.15.0-gpu"):  # fmt: skip
        assert EnvironmentSpec(base_image=name).base_image == name


@pytest.fixture(scope="module")
def base() -> Iterator[str]:
    with named_base(NAME) as name:
        yield name


@pytest.mark.anyio
@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("with_buildkit", [True, False])
async def test_a_dockerfile_of_ones_own_is_built_beneath_our_layers(
    base: str, *, with_buildkit: bool
) -> None:
    text = f"FROM {base}\nRUN echo found > /etc/marker && ls /trainwright || true\nUSER nobody\n"
    builder = builder_of(with_buildkit=with_buildkit)
    spec = spec_on(None, "six", dockerfile=text, python_version="")
    built, output = await build(builder, spec)
    try:
        assert "found > /etc/marker" in output
        said = run_in(built.reference, "import six; print(open('/etc/marker').read())")
        assert said == "found\n\n"
        with closing(docker_engine.client()) as engine:
            assert engine.inspect_image(built.reference)["Config"]["User"] == "1000:1000"
            left = engine.images(name=f"trainwright/base:building-{spec.spec_hash[:12]}-*")
            assert not left, "names of builds do not stay"
    finally:
        await asyncio.to_thread(builder.remove, spec.spec_hash)


@pytest.mark.anyio
@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_dockerfile_that_fails_says_so_in_its_own_words(base: str) -> None:
    spec = spec_on(None, dockerfile=f"FROM {base}\nRUN echo so it goes && false\n")
    with pytest.raises(BuildFailed, match="so it goes") as caught:
        await build(builder_of(with_buildkit=False), spec)
    assert caught.value.code == "dockerfile_failed"
    unknown = spec_on(None, dockerfile="FROM 127.0.0.1:1/nothing:here\n")
    with pytest.raises(BuildFailed, match="connection refused"):
        await build(builder_of(with_buildkit=False), unknown)


@pytest.mark.anyio
@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_a_base_cannot_slip_steps_into_our_build(base: str) -> None:
    spec = spec_on(None, dockerfile=f"FROM {base}\nONBUILD COPY . /stolen\n")
    with pytest.raises(BuildFailed) as caught:
        await build(builder_of(with_buildkit=False), spec)
    assert caught.value.code == "base_image_onbuild"


@pytest.mark.anyio
@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("with_buildkit", [True, False])
async def test_nothing_is_installed_in_a_user_managed_image(
    base: str, *, with_buildkit: bool
) -> None:
    builder = builder_of(with_buildkit=with_buildkit)
    spec = spec_on(base, user_managed=True, python_version="")
    built, _ = await build(builder, spec)
    try:
        assert built.python == Path("/usr/bin/python3")
        assert built.python_version.startswith("3.11.")
        said = run_in(built.reference, "import sys; print(sys.prefix)", python="python3")
        assert said == "/usr\n"
    finally:
        await asyncio.to_thread(builder.remove, spec.spec_hash)
