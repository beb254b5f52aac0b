"""What the walks through the generated Python clients have in common."""

import io
import tarfile
import time
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


def settled(read: Callable[[], T], state: Callable[[T], str], *wanted: str) -> T:
    """Read again and again until the state is a wanted one."""
    deadline = time.monotonic() + 500
    while state(found := read()) not in wanted:
        assert state(found) not in ("Failed", "Canceled"), found
        assert time.monotonic() < deadline, found
        time.sleep(0.3)
    return found


def packed(script: str) -> io.BytesIO:
    """An archive of a script."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as made:
        made.add(script, "train.py")
    archive.seek(0)
    return archive


def asked(snapshot_id: str, tensorflow: str, client: str) -> dict[str, Any]:
    """The body that submits the run."""
    return {
        "experiment_name": "walk",
        "snapshot_id": snapshot_id,
        "cluster_name": "cpu",
        "entry_script": "train.py",
        "arguments": [{"dataset": "digits"}],
        # As in the README, whose environment is there already.
        "environment": {
            "framework": "tensorflow",
            "framework_version": tensorflow,
            "pip_packages": ["pandas"],
        },
        "tags": {"client": client},
    }
