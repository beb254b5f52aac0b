"""Queries about experiments."""

from sqlalchemy import exists, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.errors import Conflict, NotFound
from app.kernel.ids import new_id
from app.kernel.pagination import PageQuery, fetch_page
from app.tables.experiment import Experiment
from app.tables.run import Run
from app.tables.sweep import Sweep


class ExperimentDeleted(Conflict):
    """An experiment of this name was deleted with its runs, and could be restored."""

    code = "experiment_deleted"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"Experiment {name!r} is deleted: restore it through MLflow, or take another name."
        )


async def find(session: AsyncSession, workspace_id: str, name: str) -> Experiment | None:
    """The experiment of this name, if there is one."""
    statement = select(Experiment).where(
        Experiment.workspace_id == workspace_id, Experiment.name == name
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def get(session: AsyncSession, workspace_id: str, name: str) -> Experiment:
    """The experiment of this name.

    Raises:
        NotFound: there is none.
    """
    row = await find(session, workspace_id, name)
    if row is None:
        raise NotFound(f"There is no experiment {name!r} in this workspace.")
    return row


async def get_or_create(
    session: AsyncSession, workspace_id: str, name: str
) -> tuple[Experiment, bool]:
    """The experiment of this name, made if there is none; safe when called at once by many.

    Returns:
        The row, and whether it was made now.

    Raises:
        ExperimentDeleted: it was deleted, and could be restored.
    """
    row = await find(session, workspace_id, name)
    created = False
    if row is None:
        statement = (
            insert(Experiment)
            .values(id=new_id("exp"), workspace_id=workspace_id, name=name)
            .on_conflict_do_nothing(index_elements=["workspace_id", "name"])
            .returning(Experiment.id)
        )
        created = (await session.execute(statement)).scalar_one_or_none() is not None
        row = await get(session, workspace_id, name)
    if row.deleted_at is not None:
        raise ExperimentDeleted(name)
    return row, created


async def list_page(
    session: AsyncSession, workspace_id: str, page: PageQuery
) -> tuple[list[Experiment], str]:
    """Experiments of a workspace by name."""
    return await fetch_page(
        session,
        select(Experiment).where(
            Experiment.workspace_id == workspace_id, Experiment.deleted_at.is_(None)
        ),
        keys=[Experiment.name],
        page=page,
        key_of=lambda row: [row.name],
    )


async def has_runs(session: AsyncSession, experiment_id: str) -> bool:
    """Whether any run, or sweep, belongs to the experiment."""
    statement = select(
        exists().where(Run.experiment_id == experiment_id)
        | exists().where(Sweep.experiment_id == experiment_id)
    )
    return bool(await session.scalar(statement))
