"""The work order of a node that loads a registered model once."""

from pathlib import Path
from typing import Any

from app.deployments.order import model_input, model_place, program_source
from app.deployments.program import PACKAGE
from app.kernel.config import Settings
from app.model_captures.decide import REPORT_PATH, RUN_SECONDS
from app.tables.image import Image
from app.tables.model import ModelCapture, ModelVersion

NODE_PREFIX = "tw-capture_"
_GRACE_SECONDS = 5.0
_DELIVER_SECONDS = 120.0


def node_name(capture_id: str, start: int) -> str:
    """The deterministic name of a node, so that a crashed worker's successor adopts it."""
    return f"tw-{capture_id}-{start}"


def build_order(
    settings: Settings, *, row: ModelCapture, version: ModelVersion, image: Image
) -> dict[str, Any]:
    """The order of the node.

    Args:
        settings: heartbeat interval, folders.
        row: the capture.
        version: what is to be loaded.
        image: where.
    """
    python = image.python or "python"
    program = [python, "-m", f"{PACKAGE}.capture_sample", "--model-dir", model_place(version)]
    return {
        "name": row.node_name,
        "kind": "capture",
        "run_id": "",
        "attempt": row.start,
        "node_index": 0,
        "heartbeat_seconds": settings.heartbeat_seconds,
        "grace_seconds": _GRACE_SECONDS,
        "max_duration_seconds": RUN_SECONDS,
        "deliver_seconds": _DELIVER_SECONDS,
        "source": program_source(),
        "texts": {},
        "inputs": [model_input(version)],
        "processes": [
            {
                "stream": "capture.txt",
                "argv": [*program, "--report", REPORT_PATH],
                "environment": {},
            }
        ],
        "environment": {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"},
        "path_prepend": [str(Path(python).parent)] if image.python else [],
        "standin": False,
        "objects_dir": settings.objects_dir_on_nodes,
        "collect": [REPORT_PATH.partition("/")[0]],
        "follow": [],
    }
