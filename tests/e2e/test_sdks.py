"""The main job through generated clients, against a real stack."""

import shutil
import subprocess
from pathlib import Path

import pytest

from examples.demo import TENSORFLOW
from examples.walk.stack import Stack
from tools.sdk.generate import FOLDER, generate
from tools.toolbox import ProgramMissing, node_programs, python_programs

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "sdk"


@pytest.fixture(scope="module")
def clients() -> dict[str, Path]:
    """Generate both clients; their types are checked with them."""
    try:
        return generate(["python", "typescript"])
    except ProgramMissing as missing:
        pytest.fail(f"the generators cannot be installed: {missing}")


def walk(command: list[str | Path], stack: Stack, workspace: str, digits_address: str) -> None:
    arguments = [stack.address, stack.token, workspace]
    arguments += [f"{digits_address}/t10k-labels-idx1-ubyte.gz", TENSORFLOW]
    done = subprocess.run(
        [*command, *arguments, PROGRAMS / "train.py"],
        capture_output=True,
        text=True,
        timeout=900,
        env={"PYTHONPATH": str(FOLDER / "python"), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "walked" in done.stdout


def test_the_main_job_through_the_python_client(
    clients: dict[str, Path], live_stack: Stack, digits_address: str
) -> None:
    command: list[str | Path] = [python_programs() / "python", PROGRAMS / "walk.py"]
    walk(command, live_stack, "sdk-python", digits_address)


def test_the_main_job_through_the_typescript_client(
    clients: dict[str, Path], live_stack: Stack, digits_address: str
) -> None:
    node = shutil.which("node")
    assert node is not None, "this test needs node, which is not installed"
    for name in ("helpers", "walk", "compiled"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
    shutil.copytree(REPOSITORY / "client/typescript", FOLDER / "helpers")
    (FOLDER / "walk").mkdir()
    shutil.copy(PROGRAMS / "walk.ts", FOLDER / "walk")
    command: list[str | Path] = [
        node_programs() / "tsc",
        "--strict",
        "--skipLibCheck",
        "--target",
        "es2022",
    ]
    command += ["--module", "nodenext", "--moduleResolution", "nodenext"]
    command += ["--typeRoots", node_programs().parent / "@types", "--types", "node"]
    command += ["--rootDir", FOLDER, "--outDir", FOLDER / "compiled", FOLDER / "walk/walk.ts"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
    walk([node, FOLDER / "compiled/walk/walk.js"], live_stack, "sdk-typescript", digits_address)
