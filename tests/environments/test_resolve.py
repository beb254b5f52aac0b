"""Which framework, which Python: chosen by what is here, with errors that say what can be had."""

import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app.environments.base_images import BaseImages
from app.environments.errors import (
    AptUnavailable,
    CondaUnavailable,
    FrameworkUnavailable,
    MpiMissing,
    PythonUnavailable,
)
from app.environments.interpreters import Interpreter, discover_interpreters
from app.environments.ranks import add_mpi
from app.environments.resolve import resolve
from app.environments.resolved import Machine, ResolvedSpec
from app.environments.spec import EnvironmentSpec


def machine(*minors: str, **more: Any) -> Machine:
    """A Linux machine with these Pythons."""
    interpreters = [Interpreter(Path(f"/opt/python{minor}"), f"{minor}.9") for minor in minors]
    interpreters.sort(key=lambda one: one.minor, reverse=True)
    return Machine(interpreters=interpreters, **({"platform_name": "linux-x86_64"} | more))


ALL = machine("3.6", "3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13")
ONLY_311 = machine("3.11")


def tensorflow(version: str | None = None, on: Machine = ALL, **more: Any) -> ResolvedSpec:
    spec = EnvironmentSpec(framework="tensorflow", framework_version=version, **more)
    return resolve(spec, on, pointer="/environment")


@pytest.mark.parametrize(
    ("version", "python", "requirement"),
    [
        ("1.10", "3.6", "tensorflow==1.10.*"),
        ("1.13", "3.7", "tensorflow==1.13.*"),
        ("1.13.1", "3.7", "tensorflow==1.13.1"),
        ("1", "3.7", "tensorflow==1.15.*"),
        ("2.0", "3.7", "tensorflow==2.0.*"),
        ("2.2", "3.8", "tensorflow-cpu==2.2.*"),
        ("2.15.1", "3.11", "tensorflow-cpu==2.15.1"),
        ("2", "3.13", "tensorflow-cpu==2.21.*"),
        (None, "3.13", "tensorflow-cpu==2.21.*"),
    ],
)
def test_a_version_gets_the_newest_python_of_its_era(
    version: str | None, python: str, requirement: str
) -> None:
    resolved = tensorflow(version)
    assert resolved.python_version == python
    assert requirement in resolved.requirements


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("1.15", "tensorflow-gpu"),
        ("2.0", "tensorflow-gpu"),
        ("2.1", "tensorflow"),
        ("2.13", "tensorflow"),
        ("2.15", "tensorflow[and-cuda]"),
    ],
)
def test_gpu_packages_by_era(version: str, name: str) -> None:
    with_gpu = machine("3.7", "3.8", "3.11", has_gpu=True)
    resolved = tensorflow(version, on=with_gpu, use_gpu=True)
    assert f"{name}=={version}.*" in resolved.requirements
    assert not resolved.warnings


def test_without_a_gpu_the_cpu_package_and_a_warning() -> None:
    resolved = tensorflow("2.15", use_gpu=True)
    assert "tensorflow-cpu==2.15.*" in resolved.requirements
    assert [warning["code"] for warning in resolved.warnings] == ["no_gpu"]
    assert resolved.spec_hash == tensorflow("2.15").spec_hash


def test_elsewhere_than_linux_on_x86_there_is_one_package() -> None:
    mac = machine("3.11", platform_name="darwin-arm64")
    assert "tensorflow==2.15.*" in tensorflow("2.15", on=mac).requirements


def test_a_version_that_no_python_here_can_have_lists_those_that_can_be_had() -> None:
    with pytest.raises(FrameworkUnavailable) as caught:
        tensorflow("2.2", on=ONLY_311)
    error = caught.value
    assert "TensorFlow 2.2 needs Python 3.5–3.8; here: 3.11." in error.detail
    assert "2.12, 2.13, 2.14" in error.detail
    assert error.errors[0].pointer == "/environment/framework_version"
    assert error.extensions["available_framework_versions"][0] == "2.12"
    assert error.extensions["available_framework_versions"][-1] == "2.21"


def test_python_version_and_framework_version_that_do_not_go_together() -> None:
    with pytest.raises(FrameworkUnavailable, match=r"python_version is 3\.11"):
        tensorflow("2.2", python_version="3.11")
    with pytest.raises(FrameworkUnavailable, match="not among the versions"):
        tensorflow("0.12")


def test_an_absent_version_is_the_newest_for_the_python_asked_for() -> None:
    assert tensorflow(python_version="3.8").framework_version == "2.13"
    assert tensorflow(on=machine("3.7")).framework_version == "2.11"


def test_a_python_that_is_not_here() -> None:
    with pytest.raises(PythonUnavailable, match=r"no Python 3\.9 .* here: 3\.11") as caught:
        resolve(EnvironmentSpec(python_version="3.9"), ONLY_311, pointer="/environment")
    assert caught.value.errors[0].pointer == "/environment/python_version"
    with pytest.raises(PythonUnavailable):
        resolve(EnvironmentSpec(), machine())


def test_a_tensorflow_among_the_packages_gets_its_era_too() -> None:
    resolved = resolve(EnvironmentSpec(pip_packages=["tensorflow==1.13.1"]), ALL)
    assert resolved.python_version == "3.7"
    assert resolved.requirements == ("tensorflow==1.13.1",)
    assert "protobuf<3.21" in resolved.constraints


def test_the_user_s_own_tensorflow_package_replaces_ours() -> None:
    resolved = tensorflow("2.15", pip_packages=["tensorflow"])
    assert resolved.requirements == ("tensorflow",)
    assert "tensorflow==2.15.*" in resolved.constraints


def test_conda_packages_need_a_conda(tmp_path: Path) -> None:
    spec = EnvironmentSpec(conda_packages=["scikit-learn=0.24"])
    with pytest.raises(CondaUnavailable, match="micromamba") as caught:
        resolve(spec, ALL, pointer="/environment")
    assert caught.value.errors[0].pointer == "/environment/conda_packages"
    resolved = resolve(spec, machine(conda_tool=tmp_path / "micromamba"))
    assert resolved.conda_channels == ("conda-forge",)


def test_debian_packages_need_container_images() -> None:
    spec = EnvironmentSpec(apt_packages=["tree"])
    with pytest.raises(AptUnavailable) as caught:
        resolve(spec, ONLY_311, pointer="/environment")
    assert caught.value.errors[0].pointer == "/environment/apt_packages"
    resolved = resolve(spec, machine("3.11", bases=BaseImages({"3.11": "base:1"})))
    assert resolved.canonical()["apt_packages"] == ["tree"]
    assert ResolvedSpec.from_canonical(resolved.canonical()) == resolved


def test_interpreters_of_this_machine_are_found_and_broken_ones_are_not(tmp_path: Path) -> None:
    (tmp_path / "python3.9").write_text("#!/bin/sh\necho 'command not found' >&2\nexit 127\n")
    (tmp_path / "python3.9").chmod(0o755)
    (tmp_path / "python3.8").write_text("no program at all")
    (tmp_path / "python3.8").chmod(0o755)
    environ = {"PATH": str(tmp_path), "HOME": str(tmp_path)}
    found = discover_interpreters([tmp_path], environ=environ)
    assert all(tmp_path not in one.path.parents for one in found)
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert own in [one.minor_name for one in found]
    assert [one.minor for one in found] == sorted({one.minor for one in found}, reverse=True)


def test_an_interpreter_that_failed_once_is_asked_again_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, own = tmp_path / "slow-python", f"python3.{sys.version_info.minor}"
    given.write_text(
        f"#!/bin/sh\n[ -e '{tmp_path}/is-quick' ] || exit 1\n"
        f"exec '{Path(sys.base_prefix) / 'bin' / own}' \"$@\" | sed 's|{sys.base_prefix}|/given|'\n"
    )
    given.chmod(0o755)

    def is_found() -> bool:
        found = discover_interpreters([given], environ={"PATH": "", "HOME": str(tmp_path)})
        return Path("/given/bin") / own in [one.path for one in found]

    assert not is_found()
    (tmp_path / "is-quick").touch()
    # The failure is kept for half a minute: this question has its answer already.
    assert not is_found()
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 60)
    assert is_found()
    (tmp_path / "is-quick").unlink()
    assert is_found()


def test_a_given_path_comes_before_others_of_its_version(tmp_path: Path) -> None:
    given = tmp_path / "given-python"
    given.symlink_to(Path(sys.base_prefix) / "bin" / f"python3.{sys.version_info.minor}")
    environ = {"PATH": str(given.resolve().parent), "HOME": str(tmp_path)}
    assert given in [one.path for one in discover_interpreters([given], environ=environ)]


def test_the_python_of_the_era_is_found_where_it_is() -> None:
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    here = list(pyenv.glob("versions/3.7.*/bin/python"))
    if not here:
        pytest.skip("NO PYTHON 3.7 HERE: era environments are not tested on this machine")
    found = {one.minor_name: one for one in discover_interpreters()}
    assert found["3.7"].version.startswith("3.7.")


def test_open_mpi_comes_into_images_and_has_to_be_on_a_machine() -> None:
    spec = EnvironmentSpec(pip_packages=["numpy"])
    images = machine("3.11", bases=BaseImages({"3.11": "python:3.11"}))
    assert add_mpi(spec, images, pointer="/distribution").apt_packages == ["openmpi-bin"]
    own = spec.model_copy(update={"apt_packages": ["openmpi-bin=4.1.4-3"]})
    assert add_mpi(own, images, pointer="/distribution") == own
    assert add_mpi(spec, machine("3.11", has_mpi=True), pointer="/distribution") == spec
    with pytest.raises(MpiMissing) as refused:
        add_mpi(spec, ONLY_311, pointer="/distribution")
    assert "apt-get install openmpi-bin" in str(refused.value)
