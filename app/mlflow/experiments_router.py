"""MLflow's calls about experiments."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from app.auth.needs import needs
from app.kernel.db import SessionDep
from app.kernel.tags import merged_tags
from app.mlflow import experiments
from app.mlflow.access import Caller, CallerDep, NonEmptyText
from app.mlflow.errors import InvalidParameter
from app.mlflow.experiment_schemas import (
    DatasetSearch,
    ExperimentCreate,
    ExperimentSearch,
    ExperimentTagDelete,
    ExperimentTagSet,
    ExperimentUpdate,
    OfExperiment,
)
from app.mlflow.refusals import MlflowRoute
from app.mlflow.search.experiment_search import search_experiments
from app.tables.experiment import Experiment

router = APIRouter(prefix="/mlflow/experiments", tags=["mlflow"], route_class=MlflowRoute)
_MOST_EXPERIMENTS = 20


@router.post("/create")
@needs("experiments.write", run=True)
async def create_mlflow_experiment(
    body: ExperimentCreate, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Make an experiment."""
    caller.require_user()
    row = await experiments.create(session, caller, body)
    return {"experiment_id": row.id}


@router.get("/get")
@needs("experiments.read", run=True)
async def get_mlflow_experiment(
    experiment_id: NonEmptyText, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """One experiment."""
    row = await experiments.get(session, caller, experiment_id)
    return {"experiment": experiments.document(row)}


@router.get("/get-by-name")
@needs("experiments.read", run=True)
async def get_mlflow_experiment_by_name(
    experiment_name: NonEmptyText, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """One experiment."""
    row = await experiments.get_by_name(session, caller, experiment_name)
    return {"experiment": experiments.document(row)}


@router.post("/search")
@needs("experiments.read", run=True, audited=False)
async def search_mlflow_experiments(
    body: ExperimentSearch, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Experiments that a filter selects."""
    return await search_experiments(session, caller, body)


@router.get("/search")
@needs("experiments.read", run=True)
async def search_mlflow_experiments_by_query(
    query: Annotated[ExperimentSearch, Query()], caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """The same, asked in the address."""
    return await search_experiments(session, caller, query)


@router.post("/update")
@needs("experiments.write", run=True)
async def update_mlflow_experiment(
    body: ExperimentUpdate, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Another name."""
    row = await _own(session, caller, body)
    await experiments.rename(session, row, caller, body.new_name)
    return {}


@router.post("/delete")
@needs("experiments.write", run=True)
async def delete_mlflow_experiment(
    body: OfExperiment, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Hide it with its runs."""
    await experiments.delete(session, await _own(session, caller, body))
    return {}


@router.post("/restore")
@needs("experiments.write", run=True)
async def restore_mlflow_experiment(
    body: OfExperiment, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Show it again."""
    await experiments.restore(session, await _own(session, caller, body))
    return {}


@router.post("/set-experiment-tag")
@needs("experiments.write", run=True)
async def set_mlflow_experiment_tag(
    body: ExperimentTagSet, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Set a tag."""
    row = await _own(session, caller, body)
    experiments.check_active(row)
    row.tags = merged_tags(row.tags, {body.key: body.value})
    return {}


@router.post("/delete-experiment-tag")
@needs("experiments.write", run=True)
async def delete_mlflow_experiment_tag(
    body: ExperimentTagDelete, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """Remove a tag."""
    row = await _own(session, caller, body)
    experiments.check_active(row)
    experiments.remove_tag(row, body.key)
    return {}


@router.post("/search-datasets")
@needs("runs.read", run=True, audited=False)
async def search_mlflow_datasets(
    body: DatasetSearch, caller: CallerDep, session: SessionDep
) -> dict[str, Any]:
    """What runs of some experiments have read."""
    ids = body.experiment_ids
    if not ids:
        raise InvalidParameter("SearchDatasets request must specify at least one experiment_id.")
    if len(ids) > _MOST_EXPERIMENTS:
        raise InvalidParameter(
            f"SearchDatasets request cannot specify more than {_MOST_EXPERIMENTS} experiment_ids. "
            f"Received {len(ids)} experiment_ids."
        )
    return {"dataset_summaries": await experiments.datasets(session, caller, ids)}


async def _own(session: SessionDep, caller: Caller, body: OfExperiment) -> Experiment:
    caller.require_user()
    return await experiments.get(session, caller, body.experiment_id, lock=True)
