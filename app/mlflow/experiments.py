"""Experiments in MLflow's protocol."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from app.experiments import repository
from app.kernel.clock import utc_now
from app.kernel.odd_rows import one, shown_rows
from app.kernel.tags import merged_tags
from app.mlflow import names, places
from app.mlflow.access import Caller
from app.mlflow.errors import InvalidParameter, NoSuchResource, ResourceExists
from app.mlflow.experiment_schemas import ExperimentCreate
from app.mlflow.moments import milliseconds
from app.runs.states import TERMINAL
from app.tables.experiment import Experiment
from app.tables.run import Run
from app.tables.tracking import RunDataset

_MOST_DATASETS = 1000


def document(row: Experiment) -> dict[str, Any]:
    """An experiment as clients read it.

    Raises:
        RowUnreadable: its row is odd.
    """
    with one(row):
        return _document(row)


def documents(rows: Sequence[Experiment]) -> list[dict[str, Any]]:
    """Experiments as clients read them, without those whose rows are odd."""
    return shown_rows(rows, _document)


def _document(row: Experiment) -> dict[str, Any]:
    experiment_id = names.experiment_id_of(row.id, row.name)
    return {
        "experiment_id": experiment_id,
        "name": row.name,
        "artifact_location": places.experiment_root(experiment_id),
        "lifecycle_stage": names.lifecycle_of(row.deleted_at),
        "creation_time": milliseconds(row.created_at),
        "last_update_time": milliseconds(row.updated_at),
        "tags": names.pairs(row.tags),
    }


async def get(
    session: AsyncSession, caller: Caller, experiment_id: str, *, lock: bool = False
) -> Experiment:
    """An experiment by the id that clients know.

    Args:
        session: the transaction.
        caller: who asks.
        experiment_id: 0 is the one that clients begin with.
        lock: against changes by others until the transaction ends.

    Raises:
        NoSuchResource: the workspace has none such.
    """
    if experiment_id == names.DEFAULT_ID:
        experiment_id = (await default(session, caller)).id
    statement = _of(caller).where(Experiment.id == experiment_id)
    if lock:
        statement = statement.with_for_update(key_share=True)
    statement = statement.execution_options(populate_existing=True)
    row: Experiment | None = (await session.execute(statement)).scalar_one_or_none()
    if row is None:
        raise _none_such(experiment_id)
    return row


async def default(session: AsyncSession, caller: Caller) -> Experiment:
    """The experiment that clients begin with, made when it is first asked for."""
    found = await repository.find(session, caller.workspace.id, names.DEFAULT_NAME)
    if found is not None:
        return found
    return (await repository.get_or_create(session, caller.workspace.id, names.DEFAULT_NAME))[0]


async def get_by_name(session: AsyncSession, caller: Caller, name: str) -> Experiment:
    """An experiment by name.

    Raises:
        NoSuchResource: the workspace has none such.
    """
    if name == names.DEFAULT_NAME:
        return await default(session, caller)
    row = await repository.find(session, caller.workspace.id, name)
    if row is None:
        raise NoSuchResource(f"Could not find experiment with name '{name}'")
    return row


async def create(session: AsyncSession, caller: Caller, body: ExperimentCreate) -> Experiment:
    """Make an experiment.

    Raises:
        InvalidParameter: its artifacts are to lie elsewhere, or the name is blank.
        ResourceExists: the name is taken, perhaps by one that was deleted.
    """
    if body.artifact_location and not body.artifact_location.startswith(f"{places.SCHEME}:"):
        raise InvalidParameter(
            "Artifacts are kept by this server: leave artifact_location out "
            f"(it was {body.artifact_location!r})."
        )
    await _check_name(session, caller, body.name)
    row, created = await repository.get_or_create(session, caller.workspace.id, body.name)
    if not created:
        raise ResourceExists(f"Experiment(name={body.name}) already exists.")
    row.tags = {tag.key: tag.value for tag in body.tags}
    await session.flush()
    return row


async def rename(session: AsyncSession, row: Experiment, caller: Caller, name: str) -> None:
    """Give an active experiment another name.

    Raises:
        InvalidParameter: it was deleted, the name is blank, or it is the one with the fixed name.
        ResourceExists: the name is taken.
    """
    check_active(row)
    if name == row.name:
        return
    if row.name == names.DEFAULT_NAME:
        raise InvalidParameter(
            f"Experiment {names.DEFAULT_ID} is the one named {names.DEFAULT_NAME!r}, and cannot be "
            "renamed here: make another experiment."
        )
    await _check_name(session, caller, name)
    row.name = name


async def delete(session: AsyncSession, row: Experiment) -> None:
    """Hide an experiment with its runs.

    Raises:
        InvalidParameter: a job of it has not ended.
        NoSuchResource: it was deleted before.
    """
    if row.deleted_at is not None:
        raise _none_such(row.id)
    running = select(Run.id).where(
        Run.experiment_id == row.id, Run.kind == "job", Run.status.not_in(TERMINAL)
    )
    found = (await session.execute(running.limit(1))).scalar_one_or_none()
    if found is not None:
        raise InvalidParameter(f"Run {found} of this experiment has not ended: cancel it first.")
    row.deleted_at = utc_now()
    await _mark_runs(session, row, Run.deleted_at.is_(None), row.deleted_at)


async def restore(session: AsyncSession, row: Experiment) -> None:
    """Show a deleted experiment again, with the runs that were deleted with it.

    Raises:
        NoSuchResource: no such experiment is deleted.
    """
    if row.deleted_at is None:
        raise _none_such(row.id)
    await _mark_runs(session, row, Run.deleted_at == row.deleted_at, None)
    row.deleted_at = None


def check_active(row: Experiment) -> None:
    """Refuse changes to a deleted experiment.

    Raises:
        InvalidParameter: it is deleted.
    """
    if row.deleted_at is not None:
        shown = names.experiment_id_of(row.id, row.name)
        raise InvalidParameter(
            f"The experiment {shown} must be in the 'active' state. Current state is deleted."
        )


def remove_tag(row: Experiment, key: str) -> None:
    """Remove a tag of an experiment.

    Raises:
        NoSuchResource: it has none such.
    """
    if key not in row.tags:
        raise NoSuchResource(f"No tag with name: {key} in experiment with id {row.id}")
    row.tags = merged_tags(row.tags, {key: None})


async def own_ids(session: AsyncSession, caller: Caller, ids: list[str]) -> list[str]:
    """Our ids of these experiments; those that the workspace does not have are left out."""
    own = [experiment_id for experiment_id in ids if experiment_id != names.DEFAULT_ID]
    statement = _of(caller).with_only_columns(Experiment.id).where(Experiment.id.in_(own))
    found = list((await session.execute(statement)).scalars())
    if len(own) < len(ids):
        found.append((await default(session, caller)).id)
    return found


def _none_such(experiment_id: str) -> NoSuchResource:
    return NoSuchResource(f"No Experiment with id={experiment_id} exists")


async def datasets(session: AsyncSession, caller: Caller, ids: list[str]) -> list[dict[str, Any]]:
    """What runs of these experiments have read: each dataset once for each context.

    Args:
        session: the transaction.
        caller: who asks; a script sees what its own runs have read.
        ids: of the experiments, as clients know them.
    """
    own = await own_ids(session, caller, ids)
    context = RunDataset.tags[names.CONTEXT_TAG].astext
    statement = (
        select(Experiment.id, Experiment.name, RunDataset.name, RunDataset.digest, context)
        .join(Run, Run.id == RunDataset.run_id)
        .join(Experiment, Experiment.id == Run.experiment_id)
        .where(caller.sees(), Run.experiment_id.in_(own))
        .distinct()
        .order_by(Experiment.id, RunDataset.name, RunDataset.digest, context)
        .limit(_MOST_DATASETS)
    )
    return [
        {
            "experiment_id": names.experiment_id_of(experiment_id, experiment_name),
            "name": name,
            "digest": digest,
            **({} if said is None else {"context": said}),
        }
        for experiment_id, experiment_name, name, digest, said in await session.execute(statement)
    ]


async def _check_name(session: AsyncSession, caller: Caller, name: str) -> None:
    if not name.strip():
        raise InvalidParameter("Invalid experiment name: it must not be blank.")
    if name == names.DEFAULT_NAME:
        await default(session, caller)
    found = await repository.find(session, caller.workspace.id, name)
    if found is None:
        return
    if found.deleted_at is not None:
        raise ResourceExists(
            f"Experiment(name={name}) already exists, and is deleted: restore it, or take "
            "another name."
        )
    raise ResourceExists(f"Experiment(name={name}) already exists.")


async def _mark_runs(
    session: AsyncSession, row: Experiment, which: ColumnElement[bool], deleted_at: Any
) -> None:
    await session.execute(
        update(Run)
        .where(Run.experiment_id == row.id, which)
        .values(deleted_at=deleted_at, updated_at=func.clock_timestamp())
        .execution_options(synchronize_session=False)
    )


def _of(caller: Caller) -> Any:
    return select(Experiment).where(Experiment.workspace_id == caller.workspace.id)
