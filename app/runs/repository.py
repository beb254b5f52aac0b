"""Queries about runs."""

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from sqlalchemy import ARRAY, Result, Select, String, any_, func, literal, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.kernel.pagination import PageQuery, fetch_page
from app.runs.errors import RunNotFound
from app.runs.ordering import Condition, with_conditions
from app.tables.cluster import Cluster
from app.tables.dataset import Dataset, DatasetFile, DatasetVersion
from app.tables.experiment import Experiment
from app.tables.run import Attempt, Run, RunEvent, RunFile, RunNode
from app.tables.snapshot import Snapshot
from app.tables.tracking import RunParam


async def get(session: AsyncSession, workspace_id: str, run_id: str) -> Run:
    """The run of this id in the workspace.

    Raises:
        RunNotFound: there is none.
    """
    statement = select(Run).where(Run.workspace_id == workspace_id, Run.id == run_id)
    statement = statement.execution_options(populate_existing=True)
    run = (await session.execute(statement)).scalar_one_or_none()
    if run is None:
        raise RunNotFound(run_id)
    return run


def filtered(
    statement: Select[Any],
    workspace_id: str,
    *,
    experiment_name: str | None,
    statuses: Sequence[str],
    cluster_name: str | None,
    tags: dict[str, str | None],
    conditions: Sequence[Condition] = (),
) -> Select[Any]:
    """Those runs of a workspace that a list shows."""
    statement = statement.where(Run.workspace_id == workspace_id, Run.deleted_at.is_(None))
    if experiment_name is not None:
        experiment = select(Experiment.id).where(
            Experiment.workspace_id == workspace_id, Experiment.name == experiment_name
        )
        statement = statement.where(Run.experiment_id.in_(experiment))
    if cluster_name is not None:
        cluster = select(Cluster.id).where(
            Cluster.workspace_id == workspace_id, Cluster.name == cluster_name
        )
        statement = statement.where(Run.cluster_id.in_(cluster))
    if statuses:
        statement = statement.where(Run.status == any_(literal(list(statuses), ARRAY(String))))
    for key, value in tags.items():
        has_tag = Run.tags.has_key(key) if value is None else Run.tags.contains({key: value})
        statement = statement.where(has_tag)
    return with_conditions(statement, workspace_id, conditions)


async def names(
    session: AsyncSession, runs: Sequence[Run]
) -> tuple[dict[str, str], dict[str, str]]:
    """Names of the experiments and of the clusters of these runs, by id."""
    experiment_ids = {run.experiment_id for run in runs}
    cluster_ids = {run.cluster_id for run in runs if run.cluster_id}
    experiments = await session.execute(
        select(Experiment.id, Experiment.name).where(Experiment.id.in_(experiment_ids))
    )
    clusters = await session.execute(
        select(Cluster.id, Cluster.name).where(Cluster.id.in_(cluster_ids))
    )
    return _pairs(experiments), _pairs(clusters)


def _pairs(rows: Result[str, str]) -> dict[str, str]:
    return {key: value for key, value in rows}  # noqa: C416  (a row is no tuple to mypy)


async def params_of(session: AsyncSession, run_ids: Sequence[str]) -> dict[str, dict[str, str]]:
    """Parameters of these runs, by run."""
    statement = (
        select(RunParam.run_id, RunParam.key, RunParam.value)
        .where(RunParam.run_id.in_(run_ids))
        .order_by(RunParam.run_id, RunParam.key)
    )
    found: dict[str, dict[str, str]] = {}
    for run_id, key, value in await session.execute(statement):
        found.setdefault(run_id, {})[key] = value
    return found


async def events_after(
    session: AsyncSession, run_id: str, after: int, *, limit: int = 500
) -> Sequence[RunEvent]:
    """Events with a number over ``after``, in order."""
    statement = (
        select(RunEvent)
        .where(RunEvent.run_id == run_id, RunEvent.seq > after)
        .order_by(RunEvent.seq)
        .limit(limit)
    )
    return (await session.execute(statement)).scalars().all()


async def list_attempts(
    session: AsyncSession, run_id: str, page: PageQuery
) -> tuple[list[Attempt], str]:
    """Attempts of a run in order."""
    return await fetch_page(
        session,
        select(Attempt).where(Attempt.run_id == run_id),
        keys=[Attempt.number],
        page=page,
        key_of=lambda row: [row.number],
    )


async def find_file(session: AsyncSession, run_id: str, path: str) -> RunFile | None:
    """A file of the run by its path."""
    return await session.get(RunFile, (run_id, path))


async def file_in_the_way(session: AsyncSession, run_id: str, path: str) -> str | None:
    """Path of a file of the run that would be a folder of `path`, or the other way round."""
    folders = list(accumulate(path.split("/")[:-1], "{}/{}".format))
    is_above_or_below = RunFile.path.in_(folders) | func.starts_with(RunFile.path, f"{path}/")
    statement = select(RunFile.path).where(RunFile.run_id == run_id, is_above_or_below)
    return await session.scalar(statement.limit(1))


async def list_files(
    session: AsyncSession, run_id: str, page: PageQuery, *, prefix: str
) -> tuple[list[RunFile], str]:
    """Files of a run by path."""
    statement = select(RunFile).where(RunFile.run_id == run_id)
    if prefix:
        statement = statement.where(func.starts_with(RunFile.path, prefix))
    return await fetch_page(
        session, statement, keys=[RunFile.path], page=page, key_of=lambda row: [row.path]
    )


async def all_files(session: AsyncSession, run_id: str, *, prefix: str) -> Sequence[RunFile]:
    """All files of a run under a prefix, by path."""
    statement = (
        select(RunFile)
        .where(RunFile.run_id == run_id, func.starts_with(RunFile.path, prefix))
        .order_by(RunFile.path)
    )
    return (await session.execute(statement)).scalars().all()


async def find_snapshot(
    session: AsyncSession, workspace_id: str, snapshot_id: str
) -> Snapshot | None:
    """The snapshot of this id in the workspace."""
    statement = select(Snapshot).where(
        Snapshot.workspace_id == workspace_id, Snapshot.id == snapshot_id
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def find_dataset_version(
    session: AsyncSession, workspace_id: str, name: str, version: int | None
) -> DatasetVersion | None:
    """A version of a dataset; None as version: the latest."""
    statement = (
        select(DatasetVersion)
        .join(Dataset, Dataset.id == DatasetVersion.dataset_id)
        .where(Dataset.workspace_id == workspace_id, Dataset.name == name)
        .order_by(DatasetVersion.version.desc())
        .limit(1)
    )
    if version is not None:
        statement = statement.where(DatasetVersion.version == version)
    return (await session.execute(statement)).scalar_one_or_none()


async def dataset_files(session: AsyncSession, version_id: str) -> Sequence[DatasetFile]:
    """Files of a dataset version by path."""
    statement = (
        select(DatasetFile).where(DatasetFile.version_id == version_id).order_by(DatasetFile.path)
    )
    return (await session.execute(statement)).scalars().all()


async def has_nodes_left(session: AsyncSession, run_id: str) -> bool:
    """Whether something of any attempt's nodes may still be at the provider."""
    statement = select(RunNode.name).where(RunNode.run_id == run_id, RunNode.removed.is_(False))
    return (await session.scalars(statement.limit(1))).first() is not None
