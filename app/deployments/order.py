"""The work order of a replica: serve this model."""

import json
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.signing import Signer
from app.deployments.keys import replica_token
from app.deployments.program import PACKAGE, program_files
from app.deployments.schemas import DeploymentLimits
from app.kernel.config import Settings
from app.models.kind import Kind, files_below, find_kind
from app.tables.deployment import Deployment, Replica
from app.tables.image import Image
from app.tables.model import Model, ModelSample, ModelVersion

_GRACE_SECONDS = 5.0
_DELIVER_SECONDS = 600.0
_READY_SECONDS = 300.0
_MODEL = "model"
_SAMPLE_FILE = "sample.json"


def replica_name(deployment_id: str, *, generation: int, index: int, start: int) -> str:
    """The deterministic name of a replica, so that a crashed creator's successor adopts it."""
    return f"tw-{deployment_id}-g{generation}-r{index}-{start}"


def log_attempt(replica: Replica) -> int:
    """The number under which a replica's log streams are kept: each start has its own."""
    return replica.generation * 10**9 + replica.index * 10**6 + replica.start


async def build_order(
    session: AsyncSession, settings: Settings, signer: Signer, *, replica: Replica
) -> dict[str, Any]:
    """The order of one replica.

    Args:
        session: a transaction to read in.
        settings: heartbeat interval, folders, limits.
        signer: makes the token that the replica wants to see.
        replica: its row.
    """
    deployment = await session.get_one(Deployment, replica.deployment_id)
    version = await session.get_one(ModelVersion, deployment.model_version_id)
    model = await session.get_one(Model, version.model_id)
    limits = DeploymentLimits.model_validate(deployment.limits)
    image = await session.get_one(Image, deployment.image_id)
    sample = await _stored_sample(session, version)
    python = image.python or "python"
    return {
        "name": replica.name,
        "kind": "replica",
        "run_id": "",
        "attempt": replica.start,
        "node_index": replica.index,
        "heartbeat_seconds": settings.heartbeat_seconds,
        "grace_seconds": _GRACE_SECONDS,
        "max_duration_seconds": None,
        "deliver_seconds": _DELIVER_SECONDS,
        "source": program_source(),
        "texts": {} if sample is None else {_SAMPLE_FILE: json.dumps(sample)},
        "inputs": [model_input(version)],
        "processes": [
            {
                "stream": f"replica_{replica.index}/g{replica.generation}_{replica.start}.txt",
                "argv": [
                    python,
                    "-m",
                    PACKAGE,
                    *_model_options(model, version),
                    *_limit_options(settings, limits),
                    *([] if sample is None else ["--sample-file", _SAMPLE_FILE]),
                ],
                "environment": {
                    "TRAINWRIGHT_SERVING_TOKEN": replica_token(
                        signer, replica.name, made_at=replica.created_at
                    )
                },
            }
        ],
        "environment": {"TF_CPP_MIN_LOG_LEVEL": "2", "PYTHONUNBUFFERED": "1"},
        "path_prepend": [str(Path(python).parent)] if image.python else [],
        "standin": False,
        "objects_dir": settings.objects_dir_on_nodes,
        "collect": [],
        "follow": [],
        "log_stream_bytes": settings.node_log_stream_bytes,
        "readiness": {
            "port_file": "port",
            "path": "/v1/ready",
            "timeout_seconds": _READY_SECONDS,
            "live_path": "/v1/live",
            "silence_seconds": settings.replica_silence_seconds,
        },
    }


async def _stored_sample(session: AsyncSession, version: ModelVersion) -> dict[str, Any] | None:
    """What the version is known to answer, for a replica to compare with; None: nothing is."""
    of_version = select(ModelSample).where(ModelSample.model_version_id == version.id)
    found = (await session.execute(of_version)).scalar_one_or_none()
    if found is None:
        return None
    return {
        "inputs": found.inputs,
        "outputs": found.outputs,
        "relative_tolerance": found.relative_tolerance,
        "absolute_tolerance": found.absolute_tolerance,
    }


def program_source() -> list[dict[str, Any]]:
    """The serving program as an order names it."""
    return [
        {
            "path": file.path,
            "sha256": file.sha256,
            "size_bytes": file.size_bytes,
            "executable": False,
        }
        for file in program_files()
    ]


def model_input(version: ModelVersion) -> dict[str, Any]:
    """The input of an order that brings the model's files."""
    by_path = {file["path"]: file for file in version.files}
    chosen = files_below(by_path, find_kind(by_path))
    files = [
        {
            "path": relative,
            "sha256": by_path[path]["sha256"],
            "size_bytes": by_path[path]["size_bytes"],
        }
        for relative, path in chosen.items()
    ]
    return {"name": _MODEL, "mode": "mount", "path_on_compute": None, "files": files}


def model_place(version: ModelVersion) -> dict[str, str]:
    """The argument that is the folder or file of that input which is to be loaded."""
    found = find_kind(file["path"] for file in version.files)
    below = "" if found.kind == Kind.SAVED_MODEL else f"/{found.root.rpartition('/')[2]}"
    return {"template": f"${{{{inputs.{_MODEL}}}}}{below}"}


def _model_options(model: Model, version: ModelVersion) -> list[Any]:
    return [
        "--model-dir",
        model_place(version),
        "--model-name",
        model.name,
        "--model-version",
        str(version.version),
    ]


def _limit_options(settings: Settings, limits: DeploymentLimits) -> list[str]:
    return [
        "--host",
        settings.serving_host,
        "--port-file",
        "port",
        "--max-body-bytes",
        str(limits.max_body_bytes or settings.max_body_bytes),
        "--max-waiting",
        str(limits.max_waiting),
        "--deadline-seconds",
        str(limits.timeout_seconds),
    ]
