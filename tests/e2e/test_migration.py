"""Notebooks written for the v1 SDK run here, with nothing but their import lines changed."""

import os
import subprocess
import sys
import uuid
from pathlib import Path

import httpx2
import pytest

from examples.walk.stack import Stack
from tests.migration.imports import with_our_imports

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]
NOTEBOOKS = REPOSITORY / "tests" / "migration" / "notebooks"


def run_notebook(name: str, stack: Stack, digits_address: str, folder: Path) -> str:
    """Execute a notebook's cells in a folder that has `config.json`, and return its output."""
    workspace = f"ws-{uuid.uuid4().hex[:12]}"
    with httpx2.Client(
        base_url=stack.address, headers={"Authorization": f"Bearer {stack.token}"}
    ) as client:
        client.put(f"/v1/workspaces/{workspace}").raise_for_status()
        store = stack.data_dir.with_name("shared") / workspace
        store.mkdir(parents=True)
        place = {"place": {"kind": "folder", "path": str(store)}, "is_default": True}
        path = f"/v1/workspaces/{workspace}/datastores/workspaceblobstore"
        client.put(path, json=place).raise_for_status()
        config = client.get(f"/v1/workspaces/{workspace}/config").raise_for_status()
    (folder / "config.json").write_bytes(config.content)
    (folder / "notebook.py").write_text(with_our_imports((NOTEBOOKS / name).read_text()))
    done = subprocess.run(
        [sys.executable, "-W", "error::UserWarning", "notebook.py"],
        cwd=folder,
        env={
            **os.environ,
            "HOME": str(folder),
            "TRAINWRIGHT_URL": stack.address,
            "TRAINWRIGHT_TOKEN": stack.token,
            "DIGITS_URL": digits_address,
            "TF_MNIST": str(REPOSITORY / "examples" / "train" / "tf_mnist.py"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1000,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert "ALL CELLS RAN" in done.stdout
    return done.stdout


def test_what_every_notebook_does(live_stack: Stack, digits_address: str, tmp_path: Path) -> None:
    output = run_notebook("quick.py", live_stack, digits_address, tmp_path)
    assert "files: 2 shout: True" in output  # the log of the run, as it came


@pytest.mark.timeout(1200)
def test_the_notebook_that_trains_and_deploys_with_tensorflow(
    live_stack: Stack, digits_address: str, tmp_path: Path
) -> None:
    output = run_notebook("tensorflow_digits.py", live_stack, digits_address, tmp_path)
    assert "rank 1 of 2" in output
    assert "best hyperparameters" in output
