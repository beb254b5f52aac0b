"""Accepting a run: everything that can be wrong is found before a row is written."""

from collections.abc import Collection, Iterator, Sequence
from itertools import count
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.clusters import repository as clusters
from app.environments import service as environments
from app.environments.errors import EnvironmentNotFound
from app.environments.spec import EnvironmentSpec
from app.experiments import repository as experiments
from app.kernel.config import Settings
from app.kernel.crash_points import CrashPoint, reached
from app.kernel.errors import invalid_field
from app.kernel.ids import new_id
from app.kernel.trace_context import of_this_work
from app.kernel.wake import wake_new
from app.runs import repository
from app.runs.placeable import check_placeable
from app.runs.placeholders import check_command
from app.runs.quota import check_room
from app.runs.run_secrets import check_secrets
from app.runs.schemas import DatasetArgument, DatasetInput, RunCreate
from app.runs.states import Status
from app.runs.transitions import add_submitted
from app.runtimes.distribution import Mpi
from app.runtimes.tasks import CountsRefused, plan_tasks
from app.tables.cluster import Cluster
from app.tables.run import Run
from app.tables.snapshot import Snapshot
from app.tables.workspace import Workspace

_SHOWN_FILES = 20


async def submit(
    session: AsyncSession,
    settings: Settings,
    *,
    workspace: Workspace,
    body: RunCreate,
    actor: str,
    warnings: Sequence[dict[str, Any]] = (),
) -> Run:
    """Check a run request and write the run.

    Args:
        session: the transaction.
        settings: the operator's settings.
        workspace: where it runs.
        body: what is asked for.
        actor: who asks.
        warnings: what the caller has to say about it already.

    Raises:
        Invalid: something in it cannot be; the field and what to do are named.
        TooManyRuns: the workspace has as many as it may have.
    """
    _check_distribution(body)
    await check_room(session, settings, workspace)
    cluster = await _cluster(session, workspace, body)
    await check_placeable(session, settings, cluster=cluster, body=body, actor=actor)
    snapshot = await _snapshot(session, workspace, body)
    inputs, argv = await _inputs_and_argv(session, workspace, body)
    spec = await _environment(session, workspace, body)
    if isinstance(body.distribution, Mpi):
        spec = await environments.for_ranks(
            settings, spec, controller=body.distribution.controller, pointer="/distribution"
        )
    await check_secrets(session, workspace.id, body.secrets)
    image, more_warnings = await environments.ensure_image(session, settings, workspace, spec)
    experiment, _ = await experiments.get_or_create(session, workspace.id, body.experiment_name)
    # Last, when nothing else is waited for.
    cluster = await hold_cluster(session, workspace, body.cluster_name)
    request = body.model_dump(mode="json", exclude_unset=True) | {
        "inputs": inputs,
        "argv": argv,
        "environment": spec.model_dump(mode="json"),
    }
    trace = of_this_work()
    run = Run(
        id=new_id("run"),
        workspace_id=workspace.id,
        experiment_id=experiment.id,
        cluster_id=cluster.id,
        snapshot_id=snapshot.id,
        image_id=image.id,
        traceparent=trace.traceparent,
        created_by=actor,
        display_name=body.display_name,
        description=body.description,
        tags=dict(body.tags),
        properties=dict(body.properties),
        request=request,
        status=Status.NOT_STARTED,
        event_seq=0,
        blockers=[],
        warnings=[*warnings, *more_warnings],
        max_attempts=body.max_attempts,
        node_count=body.node_count,
        priority=body.priority,
    )
    await add_submitted(session, run, actor=actor)
    wake_new(session, Run, run.id, traceparent=trace.traceparent)
    reached(CrashPoint.RUN_UNCOMMITTED)
    return run


async def hold_cluster(session: AsyncSession, workspace: Workspace, name: str) -> Cluster:
    """The cluster, which nobody deletes before what is being accepted has been written.

    Raises:
        Invalid: there is none, or it is being deleted.
    """
    return _usable(await clusters.hold(session, workspace.id, name), name)


async def _cluster(session: AsyncSession, workspace: Workspace, body: RunCreate) -> Cluster:
    return _usable(await clusters.find(session, workspace.id, body.cluster_name), body.cluster_name)


async def named_environment(
    session: AsyncSession, workspace: Workspace, name: str
) -> EnvironmentSpec:
    """The specification of the environment that a run request names.

    Raises:
        Invalid: there is none of this name.
    """
    try:
        return await environments.spec_of(session, workspace, name)
    except EnvironmentNotFound as error:
        message = f"{error.detail[:-1]}; create it with PUT …/environments/NAME."
        raise invalid_field("/environment_name", "unknown_environment", message) from error


def _usable(cluster: Cluster | None, name: str) -> Cluster:
    if cluster is None or cluster.provisioning_state == "Deleting":
        message = f"There is no cluster {name!r}; create it with PUT …/clusters/NAME."
        raise invalid_field("/cluster_name", "unknown_cluster", message)
    return cluster


def _check_distribution(body: RunCreate) -> None:
    try:
        plan_tasks(
            body.distribution,
            node_count=body.node_count,
            process_count_per_node=body.process_count_per_node,
        )
    except CountsRefused as error:
        pointer = "/process_count_per_node" if body.distribution is None else "/distribution"
        raise invalid_field(pointer, "process_counts_mismatch", str(error)) from error


async def _snapshot(session: AsyncSession, workspace: Workspace, body: RunCreate) -> Snapshot:
    snapshot = await repository.find_snapshot(session, workspace.id, body.snapshot_id)
    if snapshot is None:
        message = f"There is no snapshot {body.snapshot_id!r}; upload the source first."
        raise invalid_field("/snapshot_id", "unknown_snapshot", message)
    if body.entry_script is not None:
        paths = [file["path"] for file in snapshot.files]
        if body.entry_script not in paths:
            shown = ", ".join(paths[:_SHOWN_FILES]) + (" …" if len(paths) > _SHOWN_FILES else "")
            message = f"The snapshot has no file {body.entry_script!r}. It has: {shown}."
            raise invalid_field("/entry_script", "entry_script_missing", message)
    return snapshot


async def _environment(
    session: AsyncSession, workspace: Workspace, body: RunCreate
) -> EnvironmentSpec:
    spec = body.environment or EnvironmentSpec()
    if body.environment_name is not None:
        spec = await named_environment(session, workspace, body.environment_name)
    if body.use_gpu is not None:
        spec = spec.model_copy(update={"use_gpu": body.use_gpu})
    return spec


async def _inputs_and_argv(
    session: AsyncSession, workspace: Workspace, body: RunCreate
) -> tuple[dict[str, Any], list[Any]]:
    wanted: dict[str, tuple[str, DatasetInput]] = {
        name: (f"/inputs/{name}", value) for name, value in body.inputs.items()
    }
    argv: list[Any] = []
    for pointer, argument in _arguments(body):
        if not isinstance(argument, DatasetArgument):
            argv.append(argument)
            continue
        name = argument.name or _free_name(wanted)
        before = wanted.get(name)
        plain = DatasetInput.model_validate(argument.model_dump(exclude={"name"}))
        if before is not None and before[1] != plain:
            message = f"Two different inputs are named {name!r}."
            raise invalid_field(f"{pointer}/name", "duplicate_input", message)
        wanted[name] = (pointer, plain)
        argv.append({"template": f"${{{{inputs.{name}}}}}"})
    check_command(body.command, inputs=wanted)
    inputs = {
        name: await _resolve_input(session, workspace, pointer, value)
        for name, (pointer, value) in wanted.items()
    }
    return inputs, [*_program(body), *argv]


def _free_name(taken: Collection[str]) -> str:
    return next(name for number in count(len(taken)) if (name := f"input_{number}") not in taken)


def _program(body: RunCreate) -> list[Any]:
    if body.entry_script is not None:
        return ["python", body.entry_script]
    if isinstance(body.command, str):
        # A shell line; what follows it becomes "$@" of the line, quoted by the shell itself.
        line = body.command
        has_arguments = bool(body.script_params or body.arguments)
        tail = ' "$@"' if has_arguments else ""
        return ["/bin/sh", "-c", {"template": line + tail}, "sh"]
    return [{"template": word} for word in body.command or []]


def _arguments(body: RunCreate) -> Iterator[tuple[str, str | DatasetArgument]]:
    for name, value in body.script_params.items():
        pointer = f"/script_params/{name.replace('~', '~0').replace('/', '~1')}"
        yield pointer, name
        if isinstance(value, DatasetArgument):
            yield pointer, value
        elif value is not None and value != "":
            yield pointer, str(value)
    for index, item in enumerate(body.arguments):
        pointer = f"/arguments/{index}"
        yield pointer, item if isinstance(item, DatasetArgument) else str(item)


async def _resolve_input(
    session: AsyncSession, workspace: Workspace, pointer: str, value: DatasetInput
) -> dict[str, Any]:
    number = None if value.version == "latest" else value.version
    version = await repository.find_dataset_version(session, workspace.id, value.dataset, number)
    if version is None:
        what = "no version" if number is None else f"no version {number}"
        message = f"Dataset {value.dataset!r} has {what} in this workspace."
        raise invalid_field(pointer, "unknown_dataset_version", message)
    return {
        "dataset": value.dataset,
        "version": version.version,
        "version_id": version.id,
        "mode": value.mode,
        "path_on_compute": value.path_on_compute,
    }
