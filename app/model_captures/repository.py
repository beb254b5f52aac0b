"""Queries about captures."""

from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.clock import utc_now
from app.kernel.ids import new_id
from app.model_captures.report import ReportedSample
from app.tables.model import (
    SAMPLE_FOR_THE_RELEASE_BEFORE,
    Model,
    ModelCapture,
    ModelSample,
    ModelVersion,
)
from app.tables.workspace import Workspace

_COUNT_LOCK = 7_201_411


async def owner(session: AsyncSession, row: ModelCapture) -> tuple[Workspace, ModelVersion]:
    """The version of a capture, and the workspace that it is in."""
    statement = (
        select(Workspace, ModelVersion)
        .join(Model, Model.workspace_id == Workspace.id)
        .join(ModelVersion, ModelVersion.model_id == Model.id)
        .where(ModelVersion.id == row.model_version_id)
    )
    workspace, version = (await session.execute(statement)).one()
    return workspace, version


async def of_node(session: AsyncSession, node: str, *, locked: bool = False) -> ModelCapture | None:
    """The capture that a node works for; None: none does any more."""
    statement = select(ModelCapture).where(
        ModelCapture.node_name == node, ModelCapture.state.in_(("Pending", "Running"))
    )
    if locked:
        statement = statement.with_for_update()
    found = await session.execute(statement.execution_options(populate_existing=True))
    return found.scalar_one_or_none()


async def nodes_count(session: AsyncSession) -> int:
    """How many nodes there are for captures; nobody counts at the same time, until the end."""
    await session.execute(select(func.pg_advisory_xact_lock(_COUNT_LOCK)))
    counted = select(func.count()).where(ModelCapture.node_name.is_not(None))
    return (await session.execute(counted)).scalar_one()


async def first_waiting(session: AsyncSession) -> str | None:
    """The oldest capture that waits for its turn, or for its environment."""
    statement = (
        select(ModelCapture.id)
        .where(ModelCapture.state == "Pending", ModelCapture.node_name.is_(None))
        .order_by(ModelCapture.id)
        .limit(1)
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def add_sample(session: AsyncSession, version_id: str, sample: ReportedSample) -> None:
    """Store a captured sample, unless the version has one."""
    statement = insert(ModelSample).values(
        id=new_id("sample"),
        **SAMPLE_FOR_THE_RELEASE_BEFORE,
        model_version_id=version_id,
        inputs=sample.inputs,
        outputs=sample.outputs,
        captured_at=utc_now(),
    )
    await session.execute(statement.on_conflict_do_nothing(index_elements=["model_version_id"]))
