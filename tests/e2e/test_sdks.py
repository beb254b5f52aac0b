"""The main job through generated clients, against a real stack."""

import shutil
import subprocess
import uuid
from pathlib import Path

import pytest

from examples.demo import TENSORFLOW
from examples.walk.stack import Stack
from tools.sdk.generate import CLIENTS, FOLDER, generate, go
from tools.toolbox import ProgramMissing, node_programs, python_programs

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(1200)]

REPOSITORY = Path(__file__).parents[2]
PROGRAMS = Path(__file__).parent / "sdk"


@pytest.fixture(scope="module")
def clients() -> dict[str, Path]:
    """Generate all clients; their types are checked with them."""
    try:
        return generate(list(CLIENTS))
    except ProgramMissing as missing:
        pytest.fail(f"the generators cannot be installed: {missing}")


def main_job(digits_address: str) -> list[str | Path]:
    """What the walks through the main job take after the workspace."""
    return [f"{digits_address}/t10k-labels-idx1-ubyte.gz", TENSORFLOW, PROGRAMS / "train.py"]


def walk(
    command: list[str | Path],
    stack: Stack,
    workspace: str,
    arguments: list[str | Path],
    client: Path | None = None,
) -> None:
    own = f"{workspace}-{uuid.uuid4().hex[:8]}"
    done = subprocess.run(
        [*command, stack.address, stack.token, own, *arguments],
        capture_output=True,
        text=True,
        timeout=900,
        env={"PYTHONPATH": str(client or ""), "PATH": "/usr/bin:/bin"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "walked" in done.stdout


def test_the_main_job_through_the_python_client(
    clients: dict[str, Path], live_stack: Stack, digits_address: str
) -> None:
    command: list[str | Path] = [python_programs() / "python", PROGRAMS / "walk.py"]
    walk(command, live_stack, "sdk-python", main_job(digits_address), clients["python"])


def test_the_main_job_through_the_other_python_client(
    clients: dict[str, Path], live_stack: Stack, digits_address: str
) -> None:
    command: list[str | Path] = [python_programs() / "python", PROGRAMS / "walk_urllib3.py"]
    client = clients["python-urllib3"]
    walk(command, live_stack, "sdk-urllib3", main_job(digits_address), client)


def test_a_run_through_the_go_client(clients: dict[str, Path], live_stack: Stack) -> None:
    (clients["go"] / "walk").mkdir(exist_ok=True)
    shutil.copy(PROGRAMS / "walk.go", clients["go"] / "walk/main.go")
    go("vet", "./walk")
    programs = FOLDER / "go-programs"
    programs.mkdir(exist_ok=True)
    go("build", "-o", str(programs), "./...")
    walk([programs / "walk"], live_stack, "sdk-go", [])


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
    command = [node, FOLDER / "compiled/walk/walk.js"]
    walk(command, live_stack, "sdk-typescript", main_job(digits_address))
