"""Real environments made by uv from a local index."""

import asyncio
import json
import os
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from app.environments.built import BuildFailed, BuiltImage
from app.environments.commands import tool_environment
from app.environments.interpreters import Interpreter, discover_interpreters
from app.environments.resolved import ResolvedSpec
from app.environments.venv_builder import MARKER, VenvBuilder
from tests.environments.index import PackageIndex

pytestmark = pytest.mark.anyio
OWN = f"3.{sys.version_info.minor}"
BIRD_AND_FISH = ResolvedSpec(python_version=OWN, requirements=("bird>=1", "fish"))


def own_interpreter() -> Interpreter:
    return next(one for one in discover_interpreters() if one.minor_name == OWN)


async def build(
    builder: VenvBuilder, spec: ResolvedSpec, *, lock: str | None = None
) -> tuple[BuiltImage, str]:
    """The image and all output."""
    output: list[bytes] = []

    async def keep(lines: bytes) -> None:
        output.append(lines)

    built = await builder.build(spec, own_interpreter(), on_output=keep, lock=lock)
    return built, b"".join(output).decode()


def run_in(built: BuiltImage, code: str) -> str:
    argv = [str(built.python), "-c", code]
    return subprocess.run(argv, capture_output=True, check=True, text=True, timeout=20).stdout


async def test_a_build_can_be_used_and_says_what_is_in_it(
    tmp_path: Path, index: PackageIndex
) -> None:
    builder = VenvBuilder(tmp_path / "images")
    built, output = await build(builder, BIRD_AND_FISH)
    assert run_in(built, "import bird, fish; print(bird.VERSION, fish.VERSION)") == "1.0 2.1\n"
    assert built.packages == {"bird": "1.0", "fish": "2.1"}
    assert "bird==1.0" in built.lock
    assert "--hash=sha256:" in built.lock
    assert built.size_bytes > 0
    assert built.python_version.startswith(OWN)
    assert "Resolving bird>=1, fish" in output
    assert " + fish==2.1" in output
    assert builder.find(BIRD_AND_FISH.spec_hash) == built
    caches = list(built.python.parent.parent.glob("lib/*/site-packages/__pycache__/bird.*.pyc"))
    assert caches, "modules are compiled when the image is built, not by every first run"


@pytest.mark.parametrize("version", ["3.6", "3.7"])
async def test_environments_of_pythons_of_old_scripts(
    tmp_path: Path, index: PackageIndex, version: str
) -> None:
    there = [one for one in discover_interpreters() if one.minor_name == version]
    if not there:
        pytest.skip(f"this machine has no Python {version}")
    spec = ResolvedSpec(python_version=version, requirements=("bird",))
    built = await VenvBuilder(tmp_path / "images").build(spec, there[0], on_output=_drop)
    assert run_in(built, "import bird; print(bird.VERSION)") == "1.0\n"


async def _drop(lines: bytes) -> None:
    pass


async def test_the_images_folder_may_be_moved(tmp_path: Path, index: PackageIndex) -> None:
    await build(VenvBuilder(tmp_path / "images"), BIRD_AND_FISH)
    (tmp_path / "images").rename(tmp_path / "moved")
    found = VenvBuilder(tmp_path / "moved").find(BIRD_AND_FISH.spec_hash)
    assert found is not None
    assert run_in(found, "import fish; print(fish.VERSION)") == "2.1\n"


async def test_the_same_again_from_the_lock(tmp_path: Path, index: PackageIndex) -> None:
    builder = VenvBuilder(tmp_path / "images")
    first, _ = await build(builder, BIRD_AND_FISH)
    index.add("bird", "1.5")
    again, _ = await build(builder, BIRD_AND_FISH, lock=first.lock)
    assert again.packages == first.packages
    assert not first.python.exists(), "there is one environment for a hash"


async def test_constraints_hold_versions_back(tmp_path: Path, index: PackageIndex) -> None:
    index.add("bird", "2.0")
    spec = ResolvedSpec(python_version=OWN, requirements=("bird",), constraints=("bird<2",))
    built, _ = await build(VenvBuilder(tmp_path / "images"), spec)
    assert built.packages == {"bird": "1.0"}


async def test_what_cannot_be_resolved_fails_with_uv_s_own_words(
    tmp_path: Path, index: PackageIndex
) -> None:
    builder = VenvBuilder(tmp_path / "images")
    spec = ResolvedSpec(python_version=OWN, requirements=("bird==9",))
    with pytest.raises(BuildFailed, match="there is no version of bird==9") as caught:
        await build(builder, spec)
    assert caught.value.code == "resolution_failed"
    assert builder.find(spec.spec_hash) is None
    assert not list((tmp_path / "images" / spec.spec_hash).iterdir())


async def test_an_unfinished_build_is_never_found_and_cleared_by_the_next(
    tmp_path: Path, index: PackageIndex
) -> None:
    builder = VenvBuilder(tmp_path / "images")
    built, _ = await build(builder, BIRD_AND_FISH)
    folder = built.python.parent.parent.parent
    (folder / MARKER).unlink()
    assert builder.find(BIRD_AND_FISH.spec_hash) is None
    await build(builder, BIRD_AND_FISH)
    assert not folder.exists()


async def test_cancelling_kills_uv(tmp_path: Path, index: PackageIndex) -> None:
    index.open.clear()
    task = asyncio.create_task(build(VenvBuilder(tmp_path / "images"), BIRD_AND_FISH))
    assert await asyncio.to_thread(index.asked_while_closed.wait, 20)
    running = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if "compile" in child.cmdline():
                running.append(child)
    assert running
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not any(child.is_running() for child in running)


async def test_a_build_that_hangs_is_ended(tmp_path: Path, index: PackageIndex) -> None:
    index.open.clear()
    builder = VenvBuilder(tmp_path / "images", timeout_seconds=1.5)
    with pytest.raises(BuildFailed) as caught:
        await build(builder, BIRD_AND_FISH)
    assert caught.value.code == "build_timeout"


async def test_conda_packages_are_installed_by_the_tool_before_pip_s(
    tmp_path: Path, index: PackageIndex
) -> None:
    """With a stand-in for micromamba: no conda channel can be reached from the test machine.

    What is tested is our command line and that uv goes on in the prefix that the tool made.
    """
    tool = tmp_path / "micromamba"
    tool.write_text(
        "#!/bin/sh\n"
        f'printf "%s\\n" "$@" > {tmp_path}/arguments\n'
        'while [ "$1" != --prefix ]; do shift; done\n'
        f'{own_interpreter().path} -m venv --without-pip "$2"\n'
        'mkdir "$2/conda-meta"\n'
        'echo \'{"name": "libfish", "version": "3"}\' > "$2/conda-meta/libfish-3.json"\n'
        "echo solved\n"
    )
    tool.chmod(0o755)
    spec = ResolvedSpec(
        python_version=OWN,
        requirements=("bird",),
        conda_packages=("libfish=3",),
        conda_channels=("conda-forge", "own"),
    )
    built, output = await build(VenvBuilder(tmp_path / "images", conda_tool=tool), spec)
    assert built.packages == {"bird": "1.0", "libfish": "3"}
    assert "solved" in output
    arguments = (tmp_path / "arguments").read_text().split("\n")
    assert arguments[:3] == ["create", "--yes", "--prefix"]
    assert arguments[4:-1] == [
        "--override-channels", "-c", "conda-forge", "-c", "own", f"python={OWN}", "libfish=3",
    ]  # fmt: skip


def test_tools_get_one_index_and_no_secrets() -> None:
    passed = tool_environment(
        {
            "PATH": "/bin",
            "PIP_INDEX_URL": "https://mirror.example/simple",
            "UV_EXTRA_INDEX_URL": "https://second.example/simple",
            "PIP_EXTRA_INDEX_URL": "https://second.example/simple",
            "UV_PYTHON": "3.6",
            "TRAINWRIGHT_DATABASE_URL": "postgresql://secret",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "HTTPS_PROXY": "http://proxy.example",
        }
    )
    assert passed["UV_DEFAULT_INDEX"] == "https://mirror.example/simple"
    assert "second.example" not in json.dumps(passed)
    assert "secret" not in json.dumps(passed)
    assert "UV_PYTHON" not in passed
    assert passed["HTTPS_PROXY"] == "http://proxy.example"
    assert passed["PATH"] == "/bin"
    assert os.environ.get("UV_EXTRA_INDEX_URL") is None or "UV_EXTRA_INDEX_URL" not in passed
