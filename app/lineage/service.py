"""From one thing to all that it was made of, and all that was made of it."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy.ext.asyncio import AsyncSession

from app.lineage import repository
from app.lineage.repository import MOST
from app.lineage.schemas import (
    DatasetInLineage,
    DeploymentInLineage,
    InputInLineage,
    LineageRead,
    ModelVersionInLineage,
    RunInLineage,
)
from app.models import aliases
from app.models.schemas import Lineage
from app.tables.dataset import Dataset, DatasetVersion
from app.tables.deployment import Deployment
from app.tables.model import ModelVersion
from app.tables.run import Run

_MOST_ANCESTORS = 50


async def of_dataset_version(
    session: AsyncSession, dataset: Dataset, version: DatasetVersion
) -> LineageRead:
    """Runs that read a dataset version, the models of these, and where they are served."""
    run_ids = await repository.runs_reading(session, dataset.workspace_id, version.id)
    version_ids = await repository.versions_of_runs(session, run_ids[:MOST])
    return await _read(
        session,
        dataset.workspace_id,
        run_ids=run_ids,
        version_ids=version_ids,
        datasets=[(dataset.name, version.version)],
    )


async def of_run(session: AsyncSession, run: Run) -> LineageRead:
    """What a run was made of and read, its models, and where they are served."""
    version_ids = await repository.versions_of_runs(session, [run.id])
    return await _read(session, run.workspace_id, run_ids=[run.id], version_ids=version_ids)


async def of_model_version(
    session: AsyncSession, workspace_id: str, name: str, version: ModelVersion
) -> LineageRead:
    """The runs and datasets behind a model version, its parents and children, its deployments."""
    family, has_more = await _family(session, workspace_id, version)
    children = await repository.children_of(session, workspace_id, name, version.version)
    return await _read(
        session,
        workspace_id,
        run_ids=[row.run_id for row in family if row.run_id],
        version_ids=[*(row.id for row in family), *children],
        served=[version.id],
        is_cut=has_more,
    )


async def of_deployment(session: AsyncSession, deployment: Deployment) -> LineageRead:
    """The model version that a deployment serves, its parents, and the runs and data behind."""
    version = await session.get_one(ModelVersion, deployment.model_version_id)
    family, has_more = await _family(session, deployment.workspace_id, version)
    found = await _read(
        session,
        deployment.workspace_id,
        run_ids=[row.run_id for row in family if row.run_id],
        version_ids=[row.id for row in family],
        served=[version.id],
        is_cut=has_more,
    )
    only = [each for each in found.deployments if each.name == deployment.name]
    return found.model_copy(update={"deployments": only})


async def _family(
    session: AsyncSession, workspace_id: str, version: ModelVersion
) -> tuple[list[ModelVersion], bool]:
    """A version with its parents, the nearest first, and whether there are more of them."""
    family = [version]
    while (parent := Lineage.model_validate(family[-1].lineage).parent) is not None:
        row = await repository.version_named(session, workspace_id, parent.model, parent.version)
        if row is None or row.id == version.id:
            break
        if len(family) > _MOST_ANCESTORS:
            return family, True
        family.append(row)
    return family, False


async def _read(
    session: AsyncSession,
    workspace_id: str,
    *,
    run_ids: Sequence[str],
    version_ids: Sequence[str],
    served: Sequence[str] | None = None,
    datasets: Sequence[tuple[str, int]] = (),
    is_cut: bool = False,
) -> LineageRead:
    """Load what these ids stand for, and the datasets and deployments beside them.

    Args:
        session: a transaction to read in.
        workspace_id: of all of it.
        run_ids: of runs; those after the `MOST`-th are left out.
        version_ids: of model versions; those after the `MOST`-th are left out.
        served: whose deployments to list; None: those of all versions.
        datasets: dataset versions by name and number, beside those that the runs and versions
            name.
        is_cut: whether the caller has left something out.
    """
    shown_versions = list(dict.fromkeys(version_ids))[:MOST]
    runs = [_run(row) for row in await repository.runs(session, run_ids[:MOST])]
    versions = await repository.versions(session, shown_versions)
    names = await aliases.of_versions(session, shown_versions)
    named = {(each.dataset, each.version) for run in runs for each in run.inputs} | set(datasets)
    of_present_runs = {run.id for run in runs}
    for row in versions:
        lineage = Lineage.model_validate(row.ModelVersion.lineage)
        if served is None or row.ModelVersion.run_id in of_present_runs | {None}:
            named |= {(each.dataset, each.version) for each in lineage.dataset_versions}
    marks = await repository.fingerprints(session, workspace_id, sorted(named))
    found = await repository.deployments(session, shown_versions if served is None else served)
    return LineageRead(
        dataset_versions=[
            DatasetInLineage(dataset=name, version=number, fingerprint=marks.get((name, number)))
            for name, number in sorted(named)
        ],
        runs=runs,
        model_versions=[
            _version(row.ModelVersion, row.model_name, names.get(row.ModelVersion.id, []))
            for row in versions
        ],
        deployments=[
            DeploymentInLineage(
                name=row.Deployment.name,
                state=row.Deployment.state,
                model=row.model_name,
                version=row.version,
            )
            for row in found
        ],
        is_cut=is_cut or len(run_ids) > MOST or len(version_ids) > MOST,
    )


def _run(row: Any) -> RunInLineage:
    run: Run = row.Run
    inputs = run.request.get("inputs", {})
    return RunInLineage(
        id=run.id,
        display_name=run.display_name,
        experiment_name=row.experiment_name,
        status=run.status,
        inputs=[
            InputInLineage(name=name, dataset=value["dataset"], version=value["version"])
            for name, value in sorted(inputs.items())
        ],
        snapshot_id=run.snapshot_id,
        snapshot_sha256=row.snapshot_sha256,
        image_hash=run.image_id,
        image_reference=run.image_reference,
        sweep_id=row.sweep_id,
        trial_number=row.trial_number,
        creator_run_id=run.creator_run_id,
    )


def _version(row: ModelVersion, name: str, names: list[str]) -> ModelVersionInLineage:
    lineage = Lineage.model_validate(row.lineage)
    return ModelVersionInLineage(
        model=name,
        version=row.version,
        aliases=names,
        kind=row.kind,
        run_id=lineage.run_id,
        path=lineage.path,
        parent=lineage.parent,
    )
