"""Queries about deployments and replicas."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from pydantic_core import from_json
from sqlalchemy import ColumnElement, and_, bindparam, delete, func, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from app.deployments.errors import DeploymentNotFound
from app.kernel.direct import DirectPool, Statement
from app.kernel.errors import NotFound
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.deployment import Deployment, Replica
from app.tables.model import Model, ModelVersion
from app.tables.workspace import Workspace


class Answering(NamedTuple):
    """A replica that can answer now."""

    name: str
    address: str
    port: int
    created_at: datetime


@dataclass(frozen=True)
class Target:
    """A deployment with the replicas that can answer now.

    Attributes:
        deployment: its row, which belongs to no session.
        model_version: number of the version that it wants to serve.
        replicas: those of the newest generation first.
    """

    deployment: Deployment
    model_version: int
    replicas: tuple[Answering, ...]


async def find(session: AsyncSession, workspace_id: str, name: str) -> Deployment | None:
    """The deployment of this name, if there is one."""
    statement = select(Deployment).where(
        Deployment.workspace_id == workspace_id, Deployment.name == name
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def get(session: AsyncSession, workspace_id: str, name: str) -> Deployment:
    """The deployment of this name.

    Raises:
        DeploymentNotFound: there is none.
    """
    row = await find(session, workspace_id, name)
    if row is None:
        raise DeploymentNotFound(name)
    return row


async def lock(session: AsyncSession, deployment_id: str) -> Deployment:
    """The deployment as it is now, locked until the transaction ends.

    Raises:
        NotFound: it is gone.
    """
    statement = (
        select(Deployment)
        .where(Deployment.id == deployment_id)
        .with_for_update(key_share=True)
        .execution_options(populate_existing=True)
    )
    row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise NotFound("The deployment was deleted meanwhile.")
    return row


async def list_page(
    session: AsyncSession, workspace_id: str, page: PageQuery
) -> tuple[list[Deployment], str]:
    """Deployments of a workspace by name."""
    return await fetch_page(
        session,
        select(Deployment).where(Deployment.workspace_id == workspace_id),
        keys=[Deployment.name],
        page=page,
        key_of=lambda row: [row.name],
    )


async def model_names(
    session: AsyncSession, version_ids: Sequence[str]
) -> dict[str, tuple[str, int]]:
    """Name and number of model versions, by id."""
    statement = (
        select(ModelVersion.id, Model.name, ModelVersion.version)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(ModelVersion.id.in_(version_ids))
    )
    rows = await session.execute(statement)
    return {version_id: (name, version) for version_id, name, version in rows}


async def present_replicas(
    session: AsyncSession, deployment_ids: Sequence[str]
) -> dict[str, list[Replica]]:
    """Replicas that are not removed, by deployment."""
    statement = (
        select(Replica)
        .where(Replica.deployment_id.in_(deployment_ids), Replica.removed.is_(False))
        .order_by(Replica.generation, Replica.index, Replica.start)
        .execution_options(populate_existing=True)
    )
    found: dict[str, list[Replica]] = defaultdict(list)
    for row in (await session.execute(statement)).scalars():
        found[row.deployment_id].append(row)
    return found


async def replicas_to_judge(session: AsyncSession, row: Deployment) -> Sequence[Replica]:
    """Replicas that are not removed, and all starts of the current generation."""
    statement = (
        select(Replica)
        .where(
            Replica.deployment_id == row.id,
            Replica.removed.is_(False) | (Replica.generation == row.generation),
        )
        .order_by(Replica.generation, Replica.index, Replica.start)
        .execution_options(populate_existing=True)
    )
    return (await session.execute(statement)).scalars().all()


async def forget_removed(session: AsyncSession, deployment_id: str, *, kept_starts: int) -> None:
    """Delete removed replicas but the last starts of each place of each generation."""
    starts_back = func.row_number().over(
        partition_by=(Replica.generation, Replica.index), order_by=Replica.start.desc()
    )
    starts = (
        select(Replica.name, Replica.removed, starts_back.label("starts_back"))
        .where(Replica.deployment_id == deployment_id)
        .subquery()
    )
    old = select(starts.c.name).where(starts.c.removed, starts.c.starts_back > kept_starts)
    await session.execute(delete(Replica).where(Replica.name.in_(old)))


async def silent_replicas(
    session: AsyncSession, deployment_id: str, *, silent_seconds: float
) -> Sequence[str]:
    """Names of serving replicas whose runners have not been heard for so long."""
    silent = is_silent(deployment_id, silent_seconds=silent_seconds)
    return (await session.scalars(select(Replica.name).where(silent))).all()


def is_silent(deployment_id: str, *, silent_seconds: float) -> ColumnElement[bool]:
    """Whether a replica of the deployment serves and its runner has not been heard for so long."""
    heard_until = func.clock_timestamp() - timedelta(seconds=silent_seconds)
    return and_(
        Replica.deployment_id == deployment_id,
        Replica.state == "Serving",
        Replica.removed.is_(False),
        Replica.heartbeat_at < heard_until,
    )


async def senders_to(session: AsyncSession, workspace_id: str, name: str) -> Sequence[str]:
    """Deployments that send requests, or copies of them, to the one of this name."""
    statement = (
        select(Deployment.name)
        .where(
            Deployment.workspace_id == workspace_id,
            Deployment.deleting.is_(False),
            or_(
                Deployment.traffic["shares"].has_key(name),
                Deployment.traffic["shadow"].has_key(name),
            ),
        )
        .order_by(Deployment.name)
    )
    return (await session.scalars(statement)).all()


_COLUMNS = Deployment.__table__.columns
_DOCUMENTS = frozenset(column.key for column in _COLUMNS if isinstance(column.type, JSONB))


def _targets(*which: ColumnElement[bool]) -> Statement:
    """A row for each replica that can answer, or one without any."""
    can_answer = and_(
        Replica.deployment_id == Deployment.id,
        Replica.state == "Serving",
        Replica.removed.is_(False),
        Replica.port.is_not(None),
        Replica.address.is_not(None),
    )
    return Statement(
        select(
            *_COLUMNS,
            ModelVersion.version.label("target_version"),
            Replica.name.label("replica_name"),
            Replica.address.label("replica_address"),
            Replica.port.label("replica_port"),
            Replica.created_at.label("replica_created_at"),
        )
        .select_from(Deployment)
        .join(Workspace, Workspace.id == Deployment.workspace_id)
        .join(ModelVersion, ModelVersion.id == Deployment.model_version_id)
        .outerjoin(Replica, can_answer)
        .where(*which)
        .order_by(Replica.generation.desc(), Replica.index)
    )


_OF_NAMES = _targets(
    Workspace.name == bindparam("workspace"), Deployment.name == bindparam("deployment")
)
_OF_NAME = _targets(
    Workspace.id == bindparam("workspace_id"), Deployment.name == bindparam("deployment")
)
_OF_ID = _targets(Deployment.id == bindparam("deployment_id"))


async def find_target(direct: DirectPool, workspace: str, name: str) -> Target | None:
    """What a prediction needs, in one query.

    Args:
        direct: connections for hot paths.
        workspace: name of the workspace.
        name: of the deployment.
    """
    return _target(await direct.rows(_OF_NAMES, workspace=workspace, deployment=name))


async def find_target_of(direct: DirectPool, workspace_id: str, name: str) -> Target | None:
    """The same in a workspace whose id is known."""
    return _target(await direct.rows(_OF_NAME, workspace_id=workspace_id, deployment=name))


async def find_target_by_id(direct: DirectPool, deployment_id: str) -> Target | None:
    """The same of a deployment that was found before."""
    return _target(await direct.rows(_OF_ID, deployment_id=deployment_id))


def _target(rows: Sequence[Mapping[str, Any]]) -> Target | None:
    if not rows:
        return None
    return Target(
        _deployment(rows[0]),
        rows[0]["target_version"],
        tuple(
            Answering(
                row["replica_name"],
                row["replica_address"],
                row["replica_port"],
                row["replica_created_at"],
            )
            for row in rows
            if row["replica_name"] and row["replica_address"] and row["replica_port"]
        ),
    )


def _deployment(row: Mapping[str, Any]) -> Deployment:
    """The row as an object of no session."""
    found = {column.key: row[column.key] for column in _COLUMNS}
    for key in _DOCUMENTS:
        if found[key] is not None:
            found[key] = from_json(found[key])
    return Deployment(**found)
