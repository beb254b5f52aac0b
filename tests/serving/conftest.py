"""An environment with TensorFlow and the serving program's packages, built once and kept."""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import uv

from app.deployments.environment import SERVING_PACKAGES
from tests.serving.program import Served, serve_named

REPOSITORY = Path(__file__).parents[2]
PACKAGES = ["tensorflow-cpu==2.21.*", "setuptools<81", *SERVING_PACKAGES]


@pytest.fixture(scope="session")
def tensorflow_python() -> Path:
    """The interpreter of the environment; under build/, which git ignores."""
    key = hashlib.sha256(repr((PACKAGES, sys.version_info[:3])).encode()).hexdigest()[:16]
    folder = REPOSITORY / "build" / f"serving-{key}"
    folder.parent.mkdir(exist_ok=True)
    python = folder / "bin" / "python"
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            _uv("venv", "--clear", "--quiet", "--python", sys.executable, str(folder))
            _uv("pip", "install", "--quiet", "--python", str(python), *PACKAGES)
            (folder / "complete").touch()
    return python


@pytest.fixture(scope="session")
def models(tensorflow_python: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with small models: mlp, mixed, scalar, tf1, broken, mlp.keras, mlp.h5."""
    folder = tmp_path_factory.mktemp("models").resolve()
    program = Path(__file__).with_name("make_models.py")
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(
        [str(tensorflow_python), str(program), str(folder)],
        check=True, timeout=180, env=environment, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def mixed(
    tensorflow_python: Path, models: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """The program with the model ``mixed``, for all who only ask it something."""
    found = serve_named(tensorflow_python, models, tmp_path_factory.mktemp("mixed"), "mixed")
    yield found
    found.client.close()
    found.process.kill()
    found.process.wait(60)


def _uv(*arguments: str) -> None:
    subprocess.run([uv.find_uv_bin(), *arguments], check=True, timeout=900)
