"""Making, changing, showing and deleting deployments."""

from collections.abc import Callable, Sequence
from typing import Any

from fastapi import Request
from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from app.deployments import repository
from app.deployments.decide import State
from app.deployments.environment import serving_specs
from app.deployments.errors import (
    DeploymentDeleting,
    ModelNotServable,
    NothingBefore,
    TakesTraffic,
)
from app.deployments.keys import KeyName
from app.deployments.schemas import (
    Autoscale,
    DataCapture,
    DeploymentLimits,
    DeploymentPut,
    DeploymentRead,
    ReplicaRead,
    Traffic,
)
from app.environments import service as environments
from app.environments.errors import FrameworkUnavailable, PythonUnavailable
from app.environments.spec import EnvironmentSpec
from app.kernel.clock import utc_now
from app.kernel.config import Settings
from app.kernel.errors import FieldError, invalid_field
from app.kernel.ids import new_id
from app.kernel.urls import absolute_url
from app.kernel.wake import wake
from app.models import repository as models
from app.models import service as model_service
from app.models.errors import ModelNotFound, ModelVersionNotFound
from app.models.schemas import ResourceConfiguration, parse_signature
from app.tables.deployment import Deployment, Replica
from app.tables.image import Image
from app.tables.model import ModelVersion
from app.tables.workspace import Workspace


async def put(
    session: AsyncSession,
    settings: Settings,
    *,
    workspace: Workspace,
    name: str,
    body: DeploymentPut,
) -> tuple[Deployment, bool]:
    """Make a deployment, or change one; what needs new processes makes a new generation.

    A repeated call changes nothing, except that it tries a failed deployment once more.

    Returns:
        The row, and whether it is new.

    Raises:
        ModelNotServable: this kind of model cannot be served.
        Invalid: there is no such model version, or the environment cannot be had here.
        DeploymentDeleting: it is going away.
    """
    version = await servable_version(session, workspace, body.model_name, body.model_version)
    wanted = body.resource_configuration or ResourceConfiguration.model_validate(
        version.resource_configuration
    )
    row = await repository.find(session, workspace.id, name)
    if row is not None:
        row = await repository.lock(session, row.id)
        if row.deleting:
            raise DeploymentDeleting(f"Deployment {name!r} is being deleted; try again later.")
    _, image = await serving_environment(
        session, settings, workspace, version, use_gpu=wanted.gpu > 0
    )
    is_new = row is None
    if row is None:
        row = Deployment(
            id=new_id("dep"),
            workspace_id=workspace.id,
            name=name,
            generation=1,
            state=State.TRANSITIONING,
        )
        session.add(row)
    elif _needs_new_processes(row, version, image, body, wanted):
        if row.state == State.HEALTHY:
            row.previous = _wish(row)
        row.generation += 1
        row.busy_at = func.clock_timestamp()
        row.state = State.TRANSITIONING
        row.state_at = func.clock_timestamp()
        row.error = None
    row.model_version_id = version.id
    if not is_image_of(row, image):
        row.image_id = image.id
    row.replica_count = _replica_count(row, body, is_fresh=row.state == State.TRANSITIONING)
    row.autoscale = body.autoscale.model_dump() if body.autoscale else None
    row.resource_configuration = wanted.model_dump()
    row.limits = body.limits.model_dump()
    row.data_capture = body.data_capture.model_dump() if body.data_capture else None
    row.description = body.description
    row.tags = dict(body.tags)
    if is_new or row.signature is None:
        row.signature = version.signature
    await session.flush()
    await wake(session, Deployment, row.id)
    await session.refresh(row)
    return row, is_new


async def rollback(
    session: AsyncSession, settings: Settings, *, workspace: Workspace, row: Deployment
) -> Deployment:
    """Go back to what was healthy before the last change; what was replaced goes on till then.

    Raises:
        NothingBefore: there is none, or its model version is gone.
        DeploymentDeleting: it is going away.
    """
    before = row.previous
    names = await repository.model_names(session, [before["model_version_id"]] if before else [])
    if before is None or before["model_version_id"] not in names:
        raise NothingBefore(
            f"Deployment {row.name!r} has not been healthy with anything else that is still there."
        )
    model, version = names[before["model_version_id"]]
    body = DeploymentPut(
        model_name=model,
        model_version=str(version),
        replicas=max(1, row.replica_count),
        autoscale=None if row.autoscale is None else Autoscale.model_validate(row.autoscale),
        resource_configuration=ResourceConfiguration.model_validate(
            before["resource_configuration"]
        ),
        limits=DeploymentLimits.model_validate(before["limits"]),
        data_capture=_capture_of(row),
        description=row.description,
        tags=row.tags,
    )
    row, _ = await put(session, settings, workspace=workspace, name=row.name, body=body)
    return row


async def set_traffic(session: AsyncSession, row: Deployment, traffic: Traffic) -> Deployment:
    """Say where the deployment's requests go; holds from the next request on.

    Raises:
        Invalid: a deployment that is named is not there, or is this one.
    """
    for field in ("shares", "shadow"):
        for name in getattr(traffic, field):
            other = await repository.find(session, row.workspace_id, name)
            if other is None or other.deleting or other.id == row.id:
                message = f"There is no other deployment {name!r} in this workspace."
                raise invalid_field(f"/{field}/{name}", "unknown_deployment", message)
    row = await repository.lock(session, row.id)
    row.traffic = traffic.model_dump()
    await session.flush()
    await session.refresh(row)
    return row


async def delete(session: AsyncSession, row: Deployment) -> None:
    """Have the deployment taken down; its reconciler does it.

    Raises:
        TakesTraffic: another deployment sends requests to it.
    """
    senders = await repository.senders_to(session, row.workspace_id, row.name)
    if senders:
        raise TakesTraffic(
            f"Deployment {row.name!r} gets traffic of {', '.join(senders)}; change theirs first."
        )
    row = await repository.lock(session, row.id)
    row.deleting = True
    await session.flush()
    await wake(session, Deployment, row.id)


async def regenerate_key(session: AsyncSession, row: Deployment, key: KeyName) -> Deployment:
    """Replace one key; the old one is refused from now on."""
    row = await repository.lock(session, row.id)
    if key == "primary":
        row.primary_key_number += 1
        row.primary_key_at = utc_now()
    else:
        row.secondary_key_number += 1
        row.secondary_key_at = utc_now()
    await session.flush()
    return row


async def reader(
    session: AsyncSession, rows: Sequence[Deployment], request: Request
) -> Callable[[Deployment], DeploymentRead]:
    """Makes what the API shows of each of these deployments."""
    models_by_id = await repository.model_names(session, [row.model_version_id for row in rows])
    replicas = await repository.present_replicas(session, [row.id for row in rows])
    prefix, _, _ = request.url.path.partition("/deployments")
    base = absolute_url(request, f"{prefix}/deployments")

    def read_one(row: Deployment) -> DeploymentRead:
        return _read(row, models_by_id[row.model_version_id], replicas.get(row.id, []), base)

    return read_one


def _read(
    row: Deployment, model: tuple[str, int], replicas: list[Replica], base: str
) -> DeploymentRead:
    model_name, model_version = model
    serving = [
        replica
        for replica in replicas
        if replica.state == "Serving" and replica.generation == row.generation
    ]
    return DeploymentRead(
        id=row.id,
        name=row.name,
        description=row.description,
        tags=row.tags,
        model_name=model_name,
        model_version=model_version,
        replicas=row.replica_count,
        ready_replicas=len(serving),
        resource_configuration=ResourceConfiguration.model_validate(row.resource_configuration),
        limits=DeploymentLimits.model_validate(row.limits),
        autoscale=None if row.autoscale is None else Autoscale.model_validate(row.autoscale),
        traffic=Traffic.model_validate(row.traffic),
        data_capture=_capture_of(row),
        generation=row.generation,
        state=row.state,
        state_at=row.state_at,
        error=row.error,
        is_deleting=row.deleting,
        scoring_uri=f"{base}/{row.name}/score",
        swagger_uri=f"{base}/{row.name}/swagger.json",
        image_hash=row.image_id,
        signature=parse_signature(row.signature),
        replica_states=[ReplicaRead.model_validate(replica) for replica in replicas],
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


async def servable_version(
    session: AsyncSession, workspace: Workspace, name: str, number: int | str
) -> ModelVersion:
    """A version of a model that can be served without code.

    Raises:
        ModelNotServable: this kind of model cannot be.
        Invalid: there is no such version.
    """
    try:
        _, version = await models.get_version(session, workspace.id, name, str(number))
    except ModelNotFound as error:
        raise invalid_field("/model_name", "unknown_model", error.detail) from error
    except ModelVersionNotFound as error:
        raise invalid_field("/model_version", "unknown_model_version", error.detail) from error
    reason = model_service.not_servable_reason(version)
    if reason:
        what = f"Version {version.version} of model {name!r} cannot be deployed"
        raise ModelNotServable(
            f"{what} without code. {reason}",
            errors=[FieldError("/model_version", "model_not_servable", reason)],
        )
    return version


async def serving_environment(
    session: AsyncSession,
    settings: Settings,
    workspace: Workspace,
    version: ModelVersion,
    *,
    use_gpu: bool,
) -> tuple[EnvironmentSpec, Image]:
    """The environment that serves a model version, and its image.

    Raises:
        Invalid: it cannot be had here.
    """
    first, *others = serving_specs(version.framework_version, kind=version.kind, use_gpu=use_gpu)
    pointer = "/model_version"
    try:
        image, _ = await environments.ensure_image(
            session, settings, workspace, first, pointer=pointer
        )
    except (FrameworkUnavailable, PythonUnavailable):
        if not others:
            raise
        image, _ = await environments.ensure_image(
            session, settings, workspace, others[0], pointer=pointer
        )
        return others[0], image
    return first, image


def is_image_of(row: Deployment, image: Image) -> bool:
    """Whether the deployment has this image, or the one that it was last resolved to.

    A base's tag that is only to be looked up again is no reason to start new processes.
    """
    return row.image_id is not None and row.image_id in (image.id, image.resolved_to)


def _needs_new_processes(
    row: Deployment,
    version: ModelVersion,
    image: Image,
    body: DeploymentPut,
    wanted: ResourceConfiguration,
) -> bool:
    return (
        row.model_version_id != version.id
        or not is_image_of(row, image)
        or row.resource_configuration != wanted.model_dump()
        or DeploymentLimits.model_validate(row.limits) != body.limits
        or row.state == State.FAILED
    )


def _replica_count(row: Deployment, body: DeploymentPut, *, is_fresh: bool) -> int:
    """How many replicas to begin with; one at least proves that the model can be served."""
    rule = body.autoscale
    if rule is None:
        return body.replicas
    least = max(rule.min_replicas, 1 if is_fresh else 0)
    return min(max(row.replica_count or 0, least), rule.max_replicas)


def _capture_of(row: Deployment) -> DataCapture | None:
    return None if row.data_capture is None else DataCapture.model_validate(row.data_capture)


def _wish(row: Deployment) -> dict[str, Any]:
    return {
        "model_version_id": row.model_version_id,
        "resource_configuration": row.resource_configuration,
        "limits": row.limits,
    }
