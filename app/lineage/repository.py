"""Queries about what was made of what."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Row, cast, func, literal, or_, select, tuple_
from sqlalchemy.dialects.postgresql import JSONPATH
from sqlalchemy.ext.asyncio import AsyncSession

from app.runs.states import TERMINAL
from app.tables.dataset import Dataset, DatasetVersion
from app.tables.deployment import Deployment
from app.tables.experiment import Experiment
from app.tables.model import Model, ModelVersion
from app.tables.run import Run
from app.tables.snapshot import Snapshot
from app.tables.sweep import Trial

MOST = 200
"""So many runs and so many model versions are listed at most."""


async def runs_reading(
    session: AsyncSession, workspace_id: str, dataset_version_id: str
) -> Sequence[str]:
    """Ids of the runs that have a dataset version as an input, newest first; one too many."""
    reads = _reads(literal(dataset_version_id))
    statement = (
        select(Run.id)
        .where(Run.workspace_id == workspace_id, reads)
        .order_by(Run.id.desc())
        .limit(MOST + 1)
    )
    return (await session.execute(statement)).scalars().all()


async def versions_of_runs(session: AsyncSession, run_ids: Sequence[str]) -> Sequence[str]:
    """Ids of the model versions that were registered from these runs; one too many."""
    statement = (
        select(ModelVersion.id)
        .where(ModelVersion.run_id.in_(run_ids))
        .order_by(ModelVersion.created_at.desc())
        .limit(MOST + 1)
    )
    return (await session.execute(statement)).scalars().all()


async def children_of(
    session: AsyncSession, workspace_id: str, model: str, version: int
) -> Sequence[str]:
    """Ids of the model versions that name this one as their parent; one too many."""
    statement = (
        select(ModelVersion.id)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(
            Model.workspace_id == workspace_id,
            ModelVersion.lineage["parent"].contains({"model": model, "version": version}),
        )
        .order_by(ModelVersion.created_at.desc())
        .limit(MOST + 1)
    )
    return (await session.execute(statement)).scalars().all()


async def version_named(
    session: AsyncSession, workspace_id: str, model: str, version: int
) -> ModelVersion | None:
    """A model version by name and number, if it is still there."""
    statement = (
        select(ModelVersion)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(
            Model.workspace_id == workspace_id,
            Model.name == model,
            ModelVersion.version == version,
        )
    )
    return (await session.execute(statement)).scalar_one_or_none()


async def runs(session: AsyncSession, run_ids: Sequence[str]) -> Sequence[Row[Any]]:
    """Runs with the name of their experiment, the hash of their source, and their trial."""
    statement = (
        select(
            Run,
            Experiment.name.label("experiment_name"),
            Snapshot.sha256.label("snapshot_sha256"),
            Trial.sweep_id,
            Trial.number.label("trial_number"),
        )
        .join(Experiment, Experiment.id == Run.experiment_id)
        .outerjoin(Snapshot, Snapshot.id == Run.snapshot_id)
        .outerjoin(Trial, Trial.run_id == Run.id)
        .where(Run.id.in_(run_ids))
        .order_by(Run.id.desc())
    )
    rows: Sequence[Any] = (await session.execute(statement)).all()
    return rows


async def versions(session: AsyncSession, version_ids: Sequence[str]) -> Sequence[Row[Any]]:
    """Model versions with the names of their models, in order."""
    statement = (
        select(ModelVersion, Model.name.label("model_name"))
        .join(Model, Model.id == ModelVersion.model_id)
        .where(ModelVersion.id.in_(version_ids))
        .order_by(Model.name, ModelVersion.version)
    )
    rows: Sequence[Any] = (await session.execute(statement)).all()
    return rows


async def deployments(session: AsyncSession, version_ids: Sequence[str]) -> Sequence[Row[Any]]:
    """Deployments of these model versions by name."""
    statement = (
        select(Deployment, Model.name.label("model_name"), ModelVersion.version)
        .join(ModelVersion, ModelVersion.id == Deployment.model_version_id)
        .join(Model, Model.id == ModelVersion.model_id)
        .where(ModelVersion.id.in_(version_ids))
        .order_by(Deployment.name)
    )
    rows: Sequence[Any] = (await session.execute(statement)).all()
    return rows


async def fingerprints(
    session: AsyncSession, workspace_id: str, named: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], str]:
    """Fingerprints of those of these dataset versions that are still there."""
    statement = (
        select(Dataset.name, DatasetVersion.version, DatasetVersion.fingerprint)
        .join(DatasetVersion, DatasetVersion.dataset_id == Dataset.id)
        .where(
            Dataset.workspace_id == workspace_id,
            tuple_(Dataset.name, DatasetVersion.version).in_(named),
        )
    )
    return {(name, version): mark for name, version, mark in await session.execute(statement)}


async def users_of_dataset(session: AsyncSession, dataset: Dataset) -> Sequence[str]:
    """What still needs a dataset, in words: runs that have not ended, and models; some of many."""
    run_reads = _reads(_version_ids(dataset))
    going = (
        select(Run.id)
        .where(
            Run.workspace_id == dataset.workspace_id,
            Run.status.not_in(TERMINAL),
            run_reads,
        )
        .order_by(Run.id)
    )
    made = (
        select(Model.name, ModelVersion.version)
        .join(Model, Model.id == ModelVersion.model_id)
        .outerjoin(Run, Run.id == ModelVersion.run_id)
        .where(
            Model.workspace_id == dataset.workspace_id,
            ModelVersion.lineage["dataset_versions"].contains([{"dataset": dataset.name}]),
            # The name may have been another dataset's before: the run knows which one it was.
            or_(Run.id.is_(None), run_reads),
        )
        .order_by(Model.name, ModelVersion.version)
    )
    run_ids = (await session.execute(going.limit(MOST))).scalars()
    named = await session.execute(made.limit(MOST))
    return [
        *(f"run {run_id}" for run_id in run_ids),
        *(f"model {name!r} version {version}" for name, version in named),
    ]


def _reads(version_ids: ColumnElement[Any]) -> ColumnElement[bool]:
    """Whether a run has one of these dataset versions as an input; one id, or a JSON list."""
    return func.jsonb_path_exists(
        Run.request,
        cast("$.inputs.*.version_id ? (@ == $ids[*])", JSONPATH),
        func.jsonb_build_object("ids", version_ids),
    )


def _version_ids(dataset: Dataset) -> Any:
    return (
        select(func.coalesce(func.jsonb_agg(DatasetVersion.id), func.jsonb_build_array()))
        .where(DatasetVersion.dataset_id == dataset.id)
        .scalar_subquery()
    )
