"""Replays of sweeps: what their trials logged, read and put to another policy."""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from app.sweeps import repository
from app.sweeps.errors import NothingToCompare, ReplayRefused
from app.sweeps.judging import History
from app.sweeps.policies import Policy, PolicyComparison
from app.sweeps.replay import Replay, TooMuchToReplay, check_size, replayed
from app.sweeps.service import spec_of
from app.tables.sweep import Sweep


async def histories(session: AsyncSession, sweep: Sweep, policy: Policy) -> list[History]:
    """What the trials logged, and when.

    Raises:
        NothingToCompare: none has logged the metric.
        ReplayRefused: it is too much for a replay under this policy.
    """
    spec = spec_of(sweep)
    metric, most = spec.objective.primary_metric, spec.limits.most_intervals
    trials = await repository.all_trials(session, [sweep.id])
    lengths = [min(trial.intervals, most) for trial in trials if trial.intervals > 0]
    try:
        check_size(policy, lengths)
    except TooMuchToReplay as error:
        raise _too_much(error) from error
    kept = await repository.reported(session, sweep.id)
    found = [repository.history(one) for one in kept if one.values and one.times is not None]
    known = {history.trial for history in found}
    others = {trial.run_id: trial for trial in trials if trial.run_id and trial.number not in known}
    attempts = [one for one in await repository.attempts(session, sweep.id) if one[0] in others]
    logged = await repository.logged(session, attempts, metric, most=most)
    for run_id, values in logged.items():
        if values:
            times = [at.timestamp() for _, at in values]
            at = others[run_id].ended_at
            ended = times[-1] if at is None else max(at.timestamp(), times[-1])
            number = others[run_id].number
            found.append(History(number, [value for value, _ in values], times, ended))
    if not found:
        raise NothingToCompare(f"No trial has logged {metric!r} yet.")
    return sorted(found)


async def recorded(
    session: AsyncSession, sweep: Sweep, policy: Policy
) -> dict[int, PolicyComparison] | None:
    """The comparisons that ended trials, where this is the policy of the sweep; else None."""
    if spec_of(sweep).early_termination != policy:
        return None
    return {
        number: PolicyComparison.model_validate(found)
        for number, found in (await repository.terminations(session, sweep.id)).items()
    }


def replay(
    sweep: Sweep,
    policy: Policy,
    found: Sequence[History],
    record: Mapping[int, PolicyComparison] | None,
) -> Replay:
    """What a policy would have done, or did.

    Raises:
        ReplayRefused: it would take too long to find out.
    """
    try:
        return replayed(policy, sweep.spec["objective"]["goal"], found, recorded=record)
    except TooMuchToReplay as error:
        raise _too_much(error) from error


def _too_much(error: TooMuchToReplay) -> ReplayRefused:
    return ReplayRefused(f"That is too much to compare; {error}.")
