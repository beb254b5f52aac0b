"""The work order of a node: all that its runner needs to know."""

import os
from datetime import timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.auth.principal import Principal
from app.auth.signing import RUN_TOKEN_SECONDS, Signer
from app.kernel.clock import utc_now
from app.kernel.config import Settings
from app.runs import gang, repository, tracking
from app.runs.input_volumes import mount_folder
from app.runs.trace import attempt_traceparent
from app.runtimes.tasks import on_node
from app.tables.experiment import Experiment
from app.tables.image import Image
from app.tables.run import Attempt, Run, RunNode
from app.tables.snapshot import Snapshot
from app.tables.workspace import Workspace

RESOURCE_GROUP = "trainwright"
CHECKPOINTS = "checkpoints"
_GRACE_SECONDS = 10.0
_DELIVER_SECONDS = 24 * 3600.0


async def build_order(
    session: AsyncSession, settings: Settings, signer: Signer, *, node: RunNode
) -> dict[str, Any]:
    """The order of one node of a run's attempt.

    Args:
        session: a transaction to read in.
        settings: heartbeat interval, addresses, folders.
        signer: makes the script's own token.
        node: the node's row.
    """
    run = await session.get_one(Run, node.run_id)
    attempt = await session.get_one(Attempt, (node.run_id, node.attempt))
    workspace = await session.get_one(Workspace, run.workspace_id)
    experiment = await session.get_one(Experiment, run.experiment_id)
    image = await session.get_one(Image, run.image_id)
    request = run.request
    folder = settings.node_folder(node.name)
    token = _script_token(signer, run)
    return {
        "name": node.name,
        "kind": "run",
        "run_id": run.id,
        "attempt": node.attempt,
        "node_index": node.node_index,
        "heartbeat_seconds": settings.heartbeat_seconds,
        "grace_seconds": _GRACE_SECONDS,
        "max_duration_seconds": request.get("max_run_duration_seconds"),
        "deliver_seconds": _DELIVER_SECONDS,
        "source": _merged(await _source(session, run), await _carried(session, node)),
        "inputs": await _inputs(session, request),
        "processes": _processes(run, node),
        "ports": gang.port_order(run, node.node_index) if gang.is_gang(run) else None,
        "reach_seconds": gang.REACH_SECONDS,
        "launch": gang.launch_order(run, node, signer, attempted_at=attempt.created_at),
        "stream_prefix": f"nodes/{node.node_index}/" if node.node_index else "",
        "environment": {
            **_given(request, tracking.variables(settings, token, run, workspace, experiment)),
            **_contract_variables(settings, signer, token, run, workspace, experiment),
            **_traced(run, node.attempt),
            "AZ_BATCH_TASK_SHARED_DIR": os.fspath(folder / "work"),
        },
        "path_prepend": [str(Path(image.python).parent)] if image.python else [],
        "standin": "azureml-core" not in image.packages,
        "objects_dir": settings.objects_dir_on_nodes,
        "collect": ["outputs"],
        "follow": ["logs"],
        "log_stream_bytes": settings.node_log_stream_bytes,
        "log_spool_bytes": settings.log_spool_max_bytes,
        "checkpoints": CHECKPOINTS,
        "host_metrics_seconds": settings.host_metrics_seconds or None,
        "secrets": list(request.get("secrets", {})),
        "traceparent": attempt_traceparent(run, node.attempt),
    }


def _traced(run: Run, attempt: int) -> dict[str, str]:
    traceparent = attempt_traceparent(run, attempt)
    return {"TRACEPARENT": traceparent} if traceparent else {}


async def _source(session: AsyncSession, run: Run) -> list[dict[str, Any]]:
    if run.snapshot_id is None:
        return []
    snapshot = await session.get_one(Snapshot, run.snapshot_id)
    return snapshot.files


async def _carried(session: AsyncSession, node: RunNode) -> list[dict[str, Any]]:
    """What this node's predecessor saved last, in an attempt that was lost."""
    statement = (
        select(RunNode.checkpoint)
        .where(
            RunNode.run_id == node.run_id,
            RunNode.node_index == node.node_index,
            RunNode.attempt < node.attempt,
            RunNode.checkpoint.is_not(None),
        )
        .order_by(RunNode.attempt.desc())
        .limit(1)
    )
    return (await session.execute(statement)).scalar_one_or_none() or []


def _merged(source: list[dict[str, Any]], saved: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return list({file["path"]: file for file in [*source, *saved]}.values())


async def _inputs(session: AsyncSession, request: dict[str, Any]) -> list[dict[str, Any]]:
    orders = []
    for name, value in request["inputs"].items():
        files = await repository.dataset_files(session, value["version_id"])
        orders.append(
            {
                "name": name,
                "mode": value["mode"],
                "mounted_at": mount_folder(name, value["path_on_compute"]),
                "path_on_compute": value["path_on_compute"],
                "files": [
                    {"path": f.path, "sha256": f.sha256, "size_bytes": f.size_bytes} for f in files
                ],
            }
        )
    return orders


def _script_token(signer: Signer, run: Run) -> str:
    principal = Principal(
        kind="run",
        id=run.id,
        name=f"run {run.id}",
        workspace_id=run.workspace_id,
        attempt=run.attempt,
    )
    return signer.issue(principal)


def _given(request: dict[str, Any], tracking_variables: dict[str, str]) -> dict[str, str]:
    """What the user sets, over what only helps; a tracking server of the user's own is the one."""
    of_environment = request["environment"].get("environment_variables", {})
    of_run = request.get("environment_variables", {})
    is_elsewhere = tracking.ADDRESS in of_environment or tracking.ADDRESS in of_run
    ours = {} if is_elsewhere else tracking_variables
    return {**of_environment, **tracking.limits(), **ours, **of_run}


def _contract_variables(
    settings: Settings,
    signer: Signer,
    token: str,
    run: Run,
    workspace: Workspace,
    experiment: Experiment,
) -> dict[str, str]:
    """The variables that a script of the v1 contract may read (contract, 2.5)."""
    # Ten digits would do, too, but the package takes some of them for YYMMDDhhmm.
    expiry = utc_now() + timedelta(seconds=RUN_TOKEN_SECONDS)
    discovery = f"{settings.nodes_base_url}/discovery/{_discovery_token(signer, run)}"
    return {
        "AZUREML_RUN_ID": run.id,
        "AZUREML_RUN_TOKEN": token,
        "AZUREML_RUN_TOKEN_EXPIRY": expiry.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "AZUREML_SERVICE_ENDPOINT": settings.nodes_base_url,
        "AZUREML_DISCOVERY_SERVICE_ENDPOINT": discovery,
        "AZUREML_ARM_SUBSCRIPTION": workspace.id,
        "AZUREML_ARM_RESOURCEGROUP": RESOURCE_GROUP,
        "AZUREML_ARM_WORKSPACE_NAME": workspace.name,
        "AZUREML_ARM_PROJECT_NAME": experiment.name,
        "AZUREML_WORKSPACE_ID": workspace.id,
        "AZUREML_EXPERIMENT_ID": experiment.id,
        "TRAINWRIGHT_API": f"{settings.nodes_base_url}/v1/workspaces/{workspace.name}",
    }


def _discovery_token(signer: Signer, run: Run) -> str:
    principal = Principal(kind="discovery", id=run.id, name="discovery", workspace_id="")
    return signer.issue(principal)


def _processes(run: Run, node: RunNode) -> list[dict[str, Any]]:
    tasks = on_node(gang.tasks_of(run), node.node_index)
    if gang.is_gang(run):
        # Told at the start, when all nodes have said where they are.
        environments: list[dict[str, str]] = [{} for _ in tasks]
    else:
        environments = gang.launch_environments(run, [node], 0)
    return [
        {"stream": task.stream, "argv": run.request["argv"], "environment": environment}
        for task, environment in zip(tasks, environments, strict=True)
    ]
