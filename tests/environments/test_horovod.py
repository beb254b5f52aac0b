"""Horovod in environments: what goes together, and wheels that are compiled once."""

import asyncio
import fcntl
import os
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.environments.base_images import BaseImages
from app.environments.build_files import build_lists
from app.environments.dockerfile import Start, dockerfile
from app.environments.errors import HorovodUnsupported, MpiMissing, ToolchainMissing
from app.environments.horovod import TABLE, framework_requirement, wheel_key
from app.environments.horovod_compile import check_toolchain, index_variables, progress_only
from app.environments.horovod_dockerfile import wheel_dockerfile
from app.environments.interpreters import Interpreter
from app.environments.ranks import for_ranks
from app.environments.resolve import resolve
from app.environments.resolved import ResolvedSpec
from app.environments.spec import EnvironmentSpec
from app.environments.wheels import WheelCache
from tests.environments.test_resolve import machine

HERE = machine("3.9", "3.11", "3.12", has_mpi=True)
IMAGES = machine("3.11", bases=BaseImages({"3.11": "base:1"}))


def resolved(on: Any = HERE, **spec: Any) -> ResolvedSpec:
    return resolve(EnvironmentSpec(**spec), on, pointer="/environment")


@pytest.mark.parametrize("version", [None, "2", "2.15", "2.15.1"])
def test_tensorflow_is_pinned_to_what_was_tested(version: str | None) -> None:
    found = resolved(
        framework="tensorflow", framework_version=version, pip_packages=["horovod", "pillow"]
    )
    assert (found.horovod, found.python_version) == ("0.28.1", "3.11")
    assert framework_requirement(found) == "tensorflow-cpu==2.15.1"
    assert not any("horovod" in line for line in found.requirements)
    assert {"cloudpickle", "packaging", "pillow", "psutil", "pyyaml"} <= set(found.requirements)
    assert ResolvedSpec.from_canonical(found.canonical()) == found


def test_a_tensorflow_among_the_packages_counts() -> None:
    found = resolved(pip_packages=["tensorflow==2.15.0", "horovod[tensorflow]>=0.28"])
    assert framework_requirement(found) == "tensorflow==2.15.0"
    assert "tensorflow==2.15.0" in found.constraints


@pytest.mark.parametrize(
    ("spec", "pointer"),
    [
        ({"framework": "tensorflow", "framework_version": "2.21"}, "framework_version"),
        ({"framework": "tensorflow", "framework_version": "1.13"}, "framework_version"),
        ({"framework": "tensorflow", "python_version": "3.9"}, "python_version"),
        ({}, "framework"),
    ],
)
def test_what_does_not_go_together_is_refused_with_what_does(
    spec: dict[str, Any], pointer: str
) -> None:
    with pytest.raises(HorovodUnsupported) as refused:
        resolved(pip_packages=["horovod"], **spec)
    assert refused.value.errors[0].pointer == f"/environment/{pointer}"
    for row in TABLE:
        assert row.version in str(refused.value)


def test_another_horovod_cannot_be_had() -> None:
    with pytest.raises(HorovodUnsupported, match=r"0\.28\.1"):
        resolved(framework="tensorflow", pip_packages=["horovod==0.16.1"])


def test_ranks_with_tensorflow_get_horovod_and_others_do_not() -> None:
    spec = EnvironmentSpec(framework="tensorflow", framework_version="2.15")
    assert for_ranks(spec, HERE, controller="mpi", pointer="/distribution").pip_packages == [
        "horovod"
    ]
    plain = EnvironmentSpec(pip_packages=["numpy"])
    assert for_ranks(plain, HERE, controller="mpi", pointer="/distribution") == plain
    pinned = EnvironmentSpec(framework="tensorflow", pip_packages=["horovod==0.28.1"])
    assert for_ranks(pinned, HERE, controller="mpi", pointer="/distribution") == pinned
    by_gloo = for_ranks(plain, HERE, controller="gloo", pointer="/distribution")
    with pytest.raises(HorovodUnsupported, match="for TensorFlow only"):
        resolve(by_gloo, HERE, pointer="/environment")


def test_its_library_needs_open_mpi() -> None:
    spec = {"framework": "tensorflow", "pip_packages": ["horovod"]}
    assert resolved(IMAGES, **spec).apt_packages == ("openmpi-bin",)
    with pytest.raises(MpiMissing):
        resolved(machine("3.11"), **spec)


def test_a_machine_without_a_compiler_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = resolved(framework="tensorflow", pip_packages=["horovod"])
    monkeypatch.setenv("PATH", str(tmp_path))
    here = replace(HERE, interpreters=[Interpreter(Path(sys.executable), "3.11.9")])
    with pytest.raises(ToolchainMissing) as refused:
        check_toolchain(spec, here, WheelCache(tmp_path), pointer="/environment")
    assert "apt-get install g++ libopenmpi-dev make" in str(refused.value)
    assert refused.value.errors[0].pointer == "/environment"


def test_a_wheel_is_shared_by_what_may_share_it() -> None:
    spec = {"framework": "tensorflow", "framework_version": "2.15", "pip_packages": ["horovod"]}
    key = wheel_key(resolved(**spec), system="debian-12")
    assert key == "horovod-0.28.1-tensorflow-cpu-2.15.1-python3.11-linux-x86_64-debian-12"
    assert wheel_key(resolved(IMAGES, **spec), system="debian-12") == key
    other = spec | {"framework_version": "2.14"}
    assert wheel_key(resolved(**other), system="debian-12") != key


async def _nothing(lines: bytes) -> None:
    """Takes output."""


def test_builds_that_want_the_same_wheel_compile_it_once(tmp_path: Path) -> None:
    made: list[Path] = []
    said: list[bytes] = []

    async def compile_into(folder: Path) -> None:
        made.append(folder)
        (folder / "horovod.whl").write_bytes(b"wheel")
        await asyncio.sleep(0.05)

    async def note(lines: bytes) -> None:
        said.append(lines)

    async def all_at_once() -> list[Path]:
        caches = [WheelCache(tmp_path / "wheels") for _ in range(4)]
        return await asyncio.gather(*(one.ensure("k", compile_into, note) for one in caches))

    found = asyncio.run(all_at_once())
    assert set(found) == {tmp_path / "wheels" / "k" / "horovod.whl"}
    assert len(made) == 1
    assert any(b"waiting" in line for line in said)


def test_a_wheel_that_cannot_be_compiled_leaves_nothing(tmp_path: Path) -> None:
    async def compile_into(folder: Path) -> None:
        (folder / "half").touch()
        raise RuntimeError("compiler error")

    cache = WheelCache(tmp_path)
    with pytest.raises(RuntimeError):
        asyncio.run(cache.ensure("k", compile_into, _nothing))
    assert cache.find("k") is None
    assert [path.name for path in tmp_path.iterdir()] == [".k.lock"]


def test_wheels_that_nobody_asks_for_and_what_killed_compilers_left_are_collected(
    tmp_path: Path,
) -> None:
    cache = WheelCache(tmp_path)
    a_day = 24 * 3600.0

    async def compile_into(folder: Path) -> None:
        (folder / "horovod.whl").write_bytes(b"wheel")

    def ask(key: str) -> None:
        asyncio.run(cache.ensure(key, compile_into, _nothing))

    def grow_old(key: str) -> None:
        os.utime(tmp_path / key, (time.time() - 2 * a_day,) * 2)

    for key in ("old", "asked", "busy", "new"):
        ask(key)
    for key in ("old", "asked", "busy"):
        grow_old(key)
    ask("asked")
    (tmp_path / ".making-new" / "work").mkdir(parents=True)
    (tmp_path / ".making-busy").mkdir()
    with (tmp_path / ".busy.lock").open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        assert cache.collect(unused_for_seconds=a_day) == ["old"]
    left = {path.name for path in tmp_path.iterdir() if not path.name.endswith(".lock")}
    assert left == {"asked", "busy", "new", ".making-busy"}
    assert cache.collect(unused_for_seconds=a_day) == ["busy"]
    ask("old")
    assert cache.find("old") is not None


@pytest.mark.parametrize("with_mounts", [True, False])
def test_the_wheel_is_compiled_apart_and_installed_last(with_mounts: bool) -> None:
    spec = resolved(IMAGES, framework="tensorflow", pip_packages=["horovod", "pillow"])
    text = wheel_dockerfile(spec, image="base:1", with_mounts=with_mounts)
    assert "g++ libopenmpi-dev make openmpi-bin python3-dev" in text
    assert "'tensorflow-cpu==2.15.1'" in text or "tensorflow-cpu==2.15.1" in text
    assert text.splitlines()[-2:] == [
        "FROM scratch",
        "COPY --from=build /trainwright/wheels /trainwright/wheels",
    ]
    whole = dockerfile(
        spec, with_mounts=with_mounts, start=Start("base:1", wheel="horovod-0.28.1-x.whl")
    )
    assert "g++" not in whole
    assert "--no-deps /trainwright/wheels/horovod-0.28.1-x.whl" in whole
    assert not any("horovod" in text for text in build_lists(spec).values())


def test_only_progress_and_errors_of_the_compiler_are_passed_on() -> None:
    said: list[bytes] = []

    async def note(lines: bytes) -> None:
        said.append(lines)

    lines = (
        b"  [ 12%] Building CXX object a.o\n  cd /work && /usr/bin/c++ -DX " + b"y" * 900 + b"\n"
        b"  ops.cc:7:1: error: no such thing\n  cmake version 3.25\n"
    )

    async def pass_all() -> None:
        await progress_only(note)(lines)

    asyncio.run(pass_all())
    assert said == [b"[ 12%] Building CXX object a.o\nops.cc:7:1: error: no such thing\n"]


def test_the_operators_index_serves_the_source_too() -> None:
    assert index_variables({"UV_DEFAULT_INDEX": "http://i/"}) == {"PIP_INDEX_URL": "http://i/"}
    assert index_variables({}) == {}
