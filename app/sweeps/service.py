"""Sweeps: making, showing, canceling."""

import asyncio
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs.charges import ALL_DIGITS, CENT_DIGITS
from app.experiments import repository as experiments
from app.kernel.config import Settings
from app.kernel.errors import DomainError, FieldError, Invalid, invalid_field
from app.kernel.hints import discard_hints
from app.kernel.ids import new_id
from app.kernel.odd_rows import ODD
from app.kernel.wake import wake
from app.runs import submission
from app.runs.schemas import Blocker, RunCreate
from app.sweeps import repository
from app.sweeps.checking import check
from app.sweeps.distributions import Values
from app.sweeps.errors import SweepFinished
from app.sweeps.money import cost_of_trial
from app.sweeps.pinning import pinned
from app.sweeps.repository import Counts
from app.sweeps.schemas import (
    SweepCreate,
    SweepError,
    SweepRead,
    TrialRead,
)
from app.sweeps.trial_run import run_of
from app.tables.sweep import Sweep, Trial
from app.tables.workspace import Workspace

RUNNING, CANCEL_REQUESTED = "Running", "CancelRequested"
OVER = frozenset({"Completed", "Failed", "Canceled"})


def spec_of(sweep: Sweep) -> SweepCreate:
    """The request of a sweep."""
    return SweepCreate.model_validate(sweep.spec)


async def create(
    session: AsyncSession,
    settings: Settings,
    *,
    workspace: Workspace,
    body: SweepCreate,
    actor: str,
) -> Sweep:
    """Check a request and write the sweep.

    Raises:
        Invalid: something in it cannot be; the field and what to do are named.
    """
    # Where constraints leave little, it takes a while.
    values = await asyncio.to_thread(check, body)
    await _check_warm_start(session, workspace, body)
    body = body.model_copy(update={"trial": await _pinned(session, workspace, body.trial)})
    sweep_id = new_id("sweep")
    last = _run(body, values, sweep_id)
    await _try(session, settings, workspace=workspace, run=last, actor=actor)
    await _check_money(session, settings, workspace, body)
    try:
        await submission.hold_cluster(session, workspace, body.trial.cluster_name)
    except Invalid as error:
        raise _within_trial(error) from error
    experiment, _ = await experiments.get_or_create(
        session, workspace.id, body.trial.experiment_name
    )
    sweep = Sweep(
        id=sweep_id,
        workspace_id=workspace.id,
        experiment_id=experiment.id,
        created_by=actor,
        display_name=body.display_name,
        description=body.description,
        tags=dict(body.tags),
        spec=body.model_dump(mode="json", exclude_unset=True),
        seed=secrets.randbelow(2**31) if body.seed is None else body.seed,
        status=RUNNING,
    )
    session.add(sweep)
    await session.flush()
    await wake(session, Sweep, sweep.id)
    await session.refresh(sweep)
    return sweep


def _run(body: SweepCreate, values: Values, sweep_id: str) -> RunCreate:
    """The run of the last trial, whose number is the longest."""
    number, name = body.limits.max_trials - 1, body.display_name or sweep_id
    try:
        return run_of(body, values, sweep_id=sweep_id, number=number, name=name)
    except Invalid as error:
        raise _within_trial(error) from error


async def _pinned(session: AsyncSession, workspace: Workspace, trial: RunCreate) -> RunCreate:
    try:
        return await pinned(session, workspace, trial)
    except Invalid as error:
        raise _within_trial(error) from error


async def _try(
    session: AsyncSession, settings: Settings, *, workspace: Workspace, run: RunCreate, actor: str
) -> None:
    """Submit the run of a trial and take it back, so that what is wrong is said now."""
    trying = await session.begin_nested()
    try:
        await submission.submit(session, settings, workspace=workspace, body=run, actor=actor)
    except Invalid as error:
        raise _within_trial(error) from error
    finally:
        await trying.rollback()
        discard_hints(session)


def _within_trial(error: Invalid) -> Invalid:
    errors = [
        FieldError(f"/trial{one.pointer}", one.code, one.message)
        for one in error.errors
        if one.pointer.startswith("/")
    ]
    return Invalid(error.detail, errors=errors, extensions=error.extensions)


async def _check_money(
    session: AsyncSession, settings: Settings, workspace: Workspace, body: SweepCreate
) -> None:
    most = body.limits.max_cost
    if most is None:
        return
    kept = await cost_of_trial(session, settings, workspace.id, body.trial)
    if kept > most:
        message = (
            f"{kept:.2f} {settings.currency} would be kept for a trial, more than max_cost: raise "
            "it, or give trial a max_run_duration_seconds or a max_cost of its own."
        )
        raise invalid_field("/limits/max_cost", "dearer_than_max_cost", message)


async def _check_warm_start(session: AsyncSession, workspace: Workspace, body: SweepCreate) -> None:
    for index, sweep_id in enumerate(body.warm_start_from):
        pointer = f"/warm_start_from/{index}"
        try:
            earlier = await repository.get(session, workspace.id, sweep_id)
        except DomainError as error:
            raise invalid_field(pointer, "unknown_sweep", error.detail) from error
        if spec_of(earlier).objective != body.objective:
            message = f"Sweep {sweep_id!r} has another objective; its values say nothing here."
            raise invalid_field(pointer, "other_objective", message)


async def read(session: AsyncSession, sweep: Sweep) -> SweepRead:
    """A sweep as the API shows it."""
    read_one = await reader(session, [sweep])
    return read_one(sweep)


async def reader(session: AsyncSession, sweeps: Sequence[Sweep]) -> Callable[[Sweep], SweepRead]:
    """Makes what the API shows of each of these sweeps."""
    names = await repository.experiment_names(session, sweeps)
    counts = await repository.counts(session, [sweep.id for sweep in sweeps])
    best_of: dict[str, Trial | None] = {}
    for sweep in sweeps:
        with suppress(*ODD):  # whoever reads that sweep sees what is wrong with it
            best_of[sweep.id] = await best(session, sweep)

    def read_one(sweep: Sweep) -> SweepRead:
        found = counts.get(sweep.id, Counts())
        return _read(sweep, names[sweep.experiment_id], found, best_of.get(sweep.id))

    return read_one


async def best(
    session: AsyncSession,
    sweep: Sweep,
    *,
    outcomes: Sequence[str] | None = None,
    has_run: bool = False,
) -> Trial | None:
    """The best trial so far; None: none has logged the metric."""
    maximize = sweep.spec["objective"]["goal"] == "maximize"
    return await repository.best_trial(
        session, sweep.id, maximize=maximize, outcomes=outcomes, has_run=has_run
    )


def _read(sweep: Sweep, experiment: str, counts: Counts, best: Trial | None) -> SweepRead:
    spec = spec_of(sweep)
    return SweepRead(
        id=sweep.id,
        status=sweep.status,
        end_reason=sweep.end_reason,
        blockers=[Blocker.model_validate(one) for one in sweep.blockers],
        error=None if sweep.error is None else SweepError.model_validate(sweep.error),
        display_name=sweep.display_name,
        description=sweep.description,
        tags=sweep.tags,
        experiment_name=experiment,
        trial=sweep.spec["trial"],
        search_space=spec.search_space,
        constraints=spec.constraints,
        algorithm=spec.algorithm,
        objective=spec.objective,
        early_termination=spec.early_termination,
        limits=spec.limits,
        warm_start_from=spec.warm_start_from,
        seed=sweep.seed,
        trials_count=counts.total,
        running_count=counts.running,
        completed_count=counts.completed,
        failed_count=counts.failed,
        canceled_count=counts.canceled,
        ended_early_count=counts.ended_early,
        cost=round(counts.cost, CENT_DIGITS if sweep.ended_at is None else ALL_DIGITS),
        best_trial=None if best is None else best.number,
        best_run_id=None if best is None else best.run_id,
        best_value=None if best is None else best.value,
        created_by=sweep.created_by,
        created_at=sweep.created_at,
        updated_at=sweep.updated_at,
        ended_at=sweep.ended_at,
    )


def read_trial(row: Row[Any]) -> TrialRead:
    """A trial as the API shows it."""
    return TrialRead(
        number=row.number,
        run_id=row.run_id,
        status=row.outcome or row.run_status or "Canceled",
        parameters=row.parameters,
        value=row.value,
        intervals=row.intervals,
        cost=row.cost,
        termination=row.termination,
        created_at=row.created_at,
        ended_at=row.ended_at,
    )


async def cancel(session: AsyncSession, sweep: Sweep) -> Sweep:
    """Ask for the end of a sweep and of its runs; doing it again changes nothing.

    Raises:
        SweepFinished: it has completed or failed.
    """
    sweep = await repository.lock(session, sweep.id)
    if sweep.status in (CANCEL_REQUESTED, "Canceled"):
        return sweep
    if sweep.status in OVER:
        raise SweepFinished(f"The sweep is {sweep.status}; there is nothing left to cancel.")
    sweep.status = CANCEL_REQUESTED
    sweep.end_reason = "canceled"
    await session.flush()
    await wake(session, Sweep, sweep.id)
    await session.refresh(sweep)
    return sweep
