"""Queries about models and their versions."""

from collections.abc import Sequence

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.ids import new_id
from app.kernel.pagination import PageQuery, fetch_page
from app.models import aliases
from app.models.errors import ModelNotFound, ModelVersionNotFound
from app.tables.deployment import Deployment
from app.tables.experiment import Experiment
from app.tables.model import Model, ModelCapture, ModelVersion
from app.tables.run import Run


async def find(session: AsyncSession, workspace_id: str, name: str) -> Model | None:
    """The model of this name, if there is one."""
    statement = select(Model).where(Model.workspace_id == workspace_id, Model.name == name)
    return (await session.execute(statement)).scalar_one_or_none()


async def get(session: AsyncSession, workspace_id: str, name: str) -> Model:
    """The model of this name.

    Raises:
        ModelNotFound: there is none.
    """
    row = await find(session, workspace_id, name)
    if row is None:
        raise ModelNotFound(name)
    return row


async def list_page(
    session: AsyncSession, workspace_id: str, page: PageQuery
) -> tuple[list[Model], str]:
    """Models of a workspace by name."""
    return await fetch_page(
        session,
        select(Model).where(Model.workspace_id == workspace_id),
        keys=[Model.name],
        page=page,
        key_of=lambda row: [row.name],
    )


async def next_version(session: AsyncSession, workspace_id: str, name: str) -> tuple[str, int]:
    """Id of the model, made if there is none, and the number of its new version.

    The model's row stays locked until the transaction ends: numbers have no gaps, because one
    that is rolled back was never given.
    """
    await session.execute(
        insert(Model)
        .values(id=new_id("model"), workspace_id=workspace_id, name=name)
        .on_conflict_do_nothing()
    )
    statement = (
        update(Model)
        .where(Model.workspace_id == workspace_id, Model.name == name)
        .values(latest_version=Model.latest_version + 1)
        .returning(Model.id, Model.latest_version)
        .execution_options(synchronize_session=False)
    )
    model_id, version = (await session.execute(statement)).one()
    return model_id, version


async def get_version(
    session: AsyncSession, workspace_id: str, name: str, version: str
) -> tuple[Model, ModelVersion]:
    """A model and one of its versions, by number, ``latest`` or alias.

    Raises:
        ModelNotFound: there is no such model.
        ModelVersionNotFound: it has no such version.
    """
    model = await get(session, workspace_id, name)
    if version != "latest" and not version.isdecimal():
        row = await aliases.find(session, model.id, version)
    else:
        statement = select(ModelVersion).where(ModelVersion.model_id == model.id)
        if version == "latest":
            statement = statement.order_by(ModelVersion.version.desc()).limit(1)
        else:
            statement = statement.where(ModelVersion.version == int(version))
        row = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise ModelVersionNotFound(name, version)
    return model, row


async def list_versions(
    session: AsyncSession, model_id: str, page: PageQuery, *, run_id: str | None
) -> tuple[list[ModelVersion], str]:
    """Versions of a model, the newest first."""
    statement = select(ModelVersion).where(ModelVersion.model_id == model_id)
    if run_id is not None:
        statement = statement.where(ModelVersion.run_id == run_id)
    return await fetch_page(
        session,
        statement,
        keys=[ModelVersion.version],
        page=page,
        key_of=lambda row: [row.version],
        descending=True,
    )


async def deployments_of(session: AsyncSession, version_ids: Sequence[str]) -> Sequence[str]:
    """Names of the deployments that serve one of these versions."""
    statement = (
        select(Deployment.name)
        .where(Deployment.model_version_id.in_(version_ids))
        .order_by(Deployment.name)
    )
    return (await session.execute(statement)).scalars().all()


async def version_ids(session: AsyncSession, model_id: str) -> Sequence[str]:
    """Ids of all versions of a model, locked against new deployments until the end."""
    statement = select(ModelVersion.id).where(ModelVersion.model_id == model_id).with_for_update()
    return (await session.execute(statement)).scalars().all()


async def find_run(session: AsyncSession, workspace_id: str, run_id: str) -> Run | None:
    """A run of the workspace."""
    statement = select(Run).where(Run.workspace_id == workspace_id, Run.id == run_id)
    return (await session.execute(statement)).scalar_one_or_none()


async def experiment_name(session: AsyncSession, experiment_id: str) -> str:
    """Name of an experiment."""
    statement = select(Experiment.name).where(Experiment.id == experiment_id)
    return (await session.execute(statement)).scalar_one()


async def captures(session: AsyncSession, version_ids: Sequence[str]) -> dict[str, ModelCapture]:
    """The captures of these versions, by the version's id."""
    statement = select(ModelCapture).where(ModelCapture.model_version_id.in_(version_ids))
    rows = (await session.execute(statement)).scalars()
    return {row.model_version_id: row for row in rows}
