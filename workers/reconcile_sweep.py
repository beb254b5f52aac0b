"""Moves a sweep on: sees how its trials are, ends some early, and submits the next ones."""

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import inf
from typing import Any, NamedTuple, cast

import structlog
from sqlalchemy import Table, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs import charges
from app.costs.charges import ALL_DIGITS, CENT_DIGITS, Spending
from app.kernel.config import Settings
from app.kernel.db import Database
from app.kernel.errors import DomainError
from app.runs import service as runs
from app.runs import submission
from app.runs.errors import RunFinished, RunNotFound
from app.runs.schemas import RunCreate
from app.runs.states import TERMINAL, BlockerCode
from app.runs.transitions import SWEEP_PROPERTY, lock_run
from app.runs.waiting import blocker
from app.sweeps import repository, service
from app.sweeps.decide import Decision, View, decide
from app.sweeps.distributions import Values
from app.sweeps.money import Purse, cost_of_trial, purse_of
from app.sweeps.past import Past
from app.sweeps.policies import Board, intervals, judged
from app.sweeps.proposing import learns, next_values
from app.sweeps.repository import Progress
from app.sweeps.schemas import SweepCreate
from app.sweeps.space import NothingLeft
from app.sweeps.template import filled
from app.tables.sweep import Sweep, Trial
from app.tables.workspace import Workspace
from workers.reconciler import Guard

_LOOK_SECONDS = 1.0
_LATER_SECONDS = 5.0
_SHORTEST_SECONDS = 0.1
_LONGEST_TAG = 1000
_log = structlog.get_logger(__name__)


class _Plan(NamedTuple):
    """What was decided, and what the next trials are made of."""

    spec: SweepCreate
    seed: int
    numbers: Sequence[int]
    past: Sequence[Past]
    reserved: float
    pause_seconds: float


class SweepReconciler:
    """Each step looks at the rows of the trials and of their runs, and writes what comes of it."""

    table = cast("Table", Sweep.__table__)

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._settings = settings

    async def reconcile(self, guard: Guard) -> float | None:
        """Note what the runs did, then submit trials as long as there is room."""
        while True:
            async with self._database.session() as session:
                await guard.check(session)
                sweep = await session.get_one(Sweep, guard.lease.row_id)
                if sweep.status in service.OVER:
                    return None
                plan = await self._look(session, sweep)
            if plan is None:
                return None
            if not plan.numbers:
                return plan.pause_seconds
            if not await self._propose(guard, plan):
                return _LATER_SECONDS

    async def _look(self, session: AsyncSession, sweep: Sweep) -> _Plan | None:
        """Bring the rows up to date; None: the sweep is over."""
        spec = service.spec_of(sweep)
        trials = {trial.number: trial for trial in await repository.all_trials(session, [sweep.id])}
        found = await repository.progress(session, sweep.id, spec.objective.primary_metric)
        run_ids = [one.run_id for one in found if one.run_id is not None]
        spending = await charges.of_runs(session, run_ids)
        await _note(session, spec, trials, found, spending)
        await _end_early(session, sweep, spec, trials, found)
        purse = await self._purse(session, sweep, spec, trials.values(), spending)
        decision = decide(await _view(session, sweep, trials.values(), purse), spec.limits)
        sweep.end_reason = decision.end_reason
        _note_blockers(sweep, decision, purse)
        if decision.cancels:
            await _cancel(session, sweep, trials.values(), reason=_WORDS[decision.end_reason])
        if decision.final:
            _finish(sweep, decision)
            return None
        pause_seconds = _LOOK_SECONDS
        if purse is not None:
            stopped = purse.to_stop()
            beyond = [trial for trial in trials.values() if trial.run_id in stopped]
            await _cancel(session, sweep, beyond, reason=_WORDS["max_cost"])
            if not stopped:
                soon = max(_SHORTEST_SECONDS, purse.next_stop_seconds())
                pause_seconds = min(pause_seconds, soon)
        past: list[Past] = []
        if decision.proposes and learns(spec):
            earlier = await repository.all_trials(session, spec.warm_start_from)
            past = _past(earlier, is_earlier=True) + _past(list(trials.values()))
        first = len(trials)
        return _Plan(
            spec,
            sweep.seed,
            range(first, first + decision.proposes),
            past,
            reserved=0.0 if purse is None else purse.next_cost,
            pause_seconds=pause_seconds,
        )

    async def _purse(
        self,
        session: AsyncSession,
        sweep: Sweep,
        spec: SweepCreate,
        trials: Iterable[Trial],
        spending: Mapping[str, Spending],
    ) -> Purse | None:
        if spec.limits.max_cost is None:
            return None
        next_cost = await cost_of_trial(session, self._settings, sweep.workspace_id, spec.trial)
        return purse_of(spec.limits.max_cost, trials, spending, next_cost=next_cost)

    async def _propose(self, guard: Guard, plan: _Plan) -> bool:
        """Submit the next trials; False: not now, but later."""
        try:
            proposals = await asyncio.to_thread(
                next_values, plan.spec, plan.past, seed=plan.seed, numbers=plan.numbers
            )
        except NothingLeft as error:
            await self._refuse(guard, "nothing_left", str(error))
            return True
        try:
            async with self._database.session() as session:
                await guard.check(session)
                sweep = await session.get_one(Sweep, guard.lease.row_id)
                if sweep.end_reason:
                    return True
                if len(proposals) < len(plan.numbers):
                    sweep.end_reason = "grid_exhausted"
                for number, values in zip(plan.numbers, proposals, strict=False):
                    await self._submit(session, sweep, plan, number, values)
        except DomainError as error:
            if error.retryable:
                return False
            await self._refuse(guard, error.code, error.detail)
        return True

    async def _submit(
        self,
        session: AsyncSession,
        sweep: Sweep,
        plan: _Plan,
        number: int,
        values: Values,
    ) -> None:
        workspace = await session.get_one(Workspace, sweep.workspace_id)
        body = _run_of(sweep, plan.spec, number, values)
        run = await submission.submit(
            session, self._settings, workspace=workspace, body=body, actor=sweep.created_by
        )
        session.add(
            Trial(
                sweep_id=sweep.id,
                number=number,
                run_id=run.id,
                parameters=dict(values),
                reserved=plan.reserved,
            )
        )
        await session.flush()

    async def _refuse(self, guard: Guard, code: str, message: str) -> None:
        async with self._database.session() as session:
            await guard.check(session)
            sweep = await session.get_one(Sweep, guard.lease.row_id)
            sweep.error = {"code": code, "message": message}
            _log.warning("trial_refused", sweep=sweep.id, code=code)


_WORDS = {
    "canceled": "the sweep was canceled",
    "max_cost": "the sweep has spent its max_cost",
    "max_duration": "the sweep took as long as it may",
    "max_failed_trials": "as many trials of the sweep failed as may",
    "trial_refused": "a further trial of the sweep was refused",
}


def _run_of(sweep: Sweep, spec: SweepCreate, number: int, values: Values) -> RunCreate:
    body = filled(spec.trial, values, space=spec.search_space)
    name = sweep.display_name or sweep.id
    tags = {**body.tags}
    text = json.dumps(values, ensure_ascii=False)
    if len(text) <= _LONGEST_TAG:
        tags["hyperparameters"] = text
    return body.model_copy(
        update={
            "display_name": body.display_name or f"{name} {number}",
            "tags": tags,
            "properties": {
                **body.properties,
                SWEEP_PROPERTY: sweep.id,
                "trial_number": str(number),
            },
        }
    )


async def _note(
    session: AsyncSession,
    spec: SweepCreate,
    trials: dict[int, Trial],
    found: Sequence[Progress],
    spending: Mapping[str, Spending],
) -> None:
    """Write down what the runs logged, cost and came to."""
    over = [one for one in found if _is_over(one)]
    attempts = [(one.run_id, one.attempt) for one in over if one.run_id is not None]
    logged = await repository.logged(session, attempts, spec.objective.primary_metric)
    for one in found:
        trial = trials[one.number]
        trial.value = one.highest if spec.objective.goal == "maximize" else one.lowest
        trial.intervals = one.intervals
        known = spending.get(one.run_id or "")
        cost = trial.cost if known is None else known.cost
        # To the hundredth while it goes on: else every look would write every trial.
        trial.cost = round(cost, ALL_DIGITS if _is_over(one) else CENT_DIGITS)
    for one in over:
        trial = trials[one.number]
        is_gone = one.run_id is None or one.is_deleted or one.status not in TERMINAL
        trial.outcome = "Canceled" if is_gone else one.status
        trial.ended_at = one.ended_at or func.clock_timestamp()
        trial.reported = [value for value, _ in logged.get(one.run_id or "", [])]
    await session.flush()


def _is_over(one: Progress) -> bool:
    return one.run_id is None or one.is_deleted or one.status in TERMINAL


async def _end_early(
    session: AsyncSession,
    sweep: Sweep,
    spec: SweepCreate,
    trials: dict[int, Trial],
    found: Sequence[Progress],
) -> None:
    """Ask the policy about every interval that a trial has reached since the last look."""
    policy = spec.early_termination
    if policy is None:
        return
    going = [one for one in found if one.run_id is not None and not _is_over(one)]
    due = [
        one
        for one in going
        if any(intervals(policy, after=trials[one.number].judged_interval, up_to=one.intervals))
        and trials[one.number].termination is None
    ]
    if not due:
        return
    board = await _board(session, sweep, spec, going)
    for one in due:
        trial = trials[one.number]
        reached = board.reached(one.number)
        for interval in intervals(policy, after=trial.judged_interval, up_to=reached):
            comparison = judged(policy, board, trial=one.number, interval=interval)
            if comparison is not None and comparison.is_ended:
                reason = f"{comparison.policy} of {sweep.id} at interval {interval}"
                if await _end_run(session, trial, sweep, reason=reason):
                    trial.termination = comparison.model_dump(mode="json")
                break
        trial.judged_interval = max(trial.judged_interval, reached)
    await session.flush()


async def _board(
    session: AsyncSession, sweep: Sweep, spec: SweepCreate, going: Sequence[Progress]
) -> Board:
    board = Board(spec.objective.goal)
    for number, values in (await repository.reported(session, sweep.id)).items():
        board.add(number, values)
        board.end(number)
    attempts = [(one.run_id, one.attempt) for one in going if one.run_id is not None]
    logged = await repository.logged(session, attempts, spec.objective.primary_metric)
    for one in going:
        board.add(one.number, [value for value, _ in logged[one.run_id or ""]])
    return board


async def _view(session: AsyncSession, sweep: Sweep, trials: Any, purse: Purse | None) -> View:
    outcomes = [trial.outcome for trial in trials]
    now: datetime = (await session.execute(select(func.clock_timestamp()))).scalar_one()
    return View(
        end_reason=sweep.end_reason,
        has_error=sweep.error is not None,
        age_seconds=(now - sweep.created_at).total_seconds(),
        total=len(outcomes),
        active=outcomes.count(""),
        failed=outcomes.count("Failed"),
        is_spent=purse is not None and purse.is_spent,
        affordable=inf if purse is None else purse.affordable,
    )


def _note_blockers(sweep: Sweep, decision: Decision, purse: Purse | None) -> None:
    if purse is None or not decision.waits_for_money:
        sweep.blockers = []
        return
    since = sweep.blockers[0]["since"] if sweep.blockers else None
    found = blocker(
        BlockerCode.BUDGET,
        "max_cost of the sweep",
        "trials that go on cost less than was kept for them",
        needed=round(purse.next_cost, CENT_DIGITS),
        available=round(max(0.0, purse.available), CENT_DIGITS),
    )
    sweep.blockers = [found if since is None else found | {"since": since}]


async def _cancel(session: AsyncSession, sweep: Sweep, trials: Any, *, reason: str) -> None:
    for trial in trials:
        if trial.outcome == "":
            await _end_run(session, trial, sweep, reason=reason)


async def _end_run(session: AsyncSession, trial: Trial, sweep: Sweep, *, reason: str) -> bool:
    """Cancel the run of a trial; False: it has come to its end by itself meanwhile."""
    if trial.run_id is None:
        return False
    try:
        run = await lock_run(session, trial.run_id)
        await runs.cancel(session, run, actor=f"sweep {sweep.id}", reason=reason)
    except (RunFinished, RunNotFound):
        return False
    return True


def _finish(sweep: Sweep, decision: Decision) -> None:
    sweep.status = decision.final
    sweep.ended_at = func.clock_timestamp()


def _past(trials: Sequence[Trial], *, is_earlier: bool = False) -> list[Past]:
    found = []
    for trial in trials:
        if trial.termination is not None:
            found.append(Past(trial.parameters, "ended", trial.value, trial.intervals))
        elif trial.outcome == "Completed":
            found.append(Past(trial.parameters, "completed", trial.value, trial.intervals))
        elif trial.outcome == "" and not is_earlier:
            found.append(Past(trial.parameters, "running", None, 0))
    return found
