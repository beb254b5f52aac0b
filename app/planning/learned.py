"""How long runs take, learned from those that completed."""

from collections.abc import Sequence
from math import ceil, floor
from typing import Any, NamedTuple

from sqlalchemy import Float, Row, cast, func, literal, or_, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncSession

from app.tables.run import Run

_LOOKED_AT = 200
_ENOUGH = 3
_LOW, _HIGH = 0.1, 0.9


class Learned(NamedTuple):
    """How long runs like one took.

    Attributes:
        shortest_seconds, longest_seconds: the shortest and the longest tenth begin there.
        runs: from how many this is.
        of: what they have in common.
    """

    shortest_seconds: float
    longest_seconds: float
    runs: int
    of: str


class Past(NamedTuple):
    """A run that completed.

    Attributes:
        seconds: that it took.
        same_experiment, same_program, same_cluster: what it shares with the one in question.
    """

    seconds: float
    same_experiment: bool
    same_program: bool
    same_cluster: bool


def quantile(values: Sequence[float], part: float) -> float:
    """The value below which such a part lies, between its neighbours (SQL's percentile_cont).

    Args:
        values: at least one, in any order.
        part: from 0 to 1.
    """
    ordered = sorted(values)
    place = part * (len(ordered) - 1)
    below, above = ordered[floor(place)], ordered[ceil(place)]
    return below + (above - below) * (place - floor(place))


def choose(past: Sequence[Past]) -> Learned | None:
    """Learn from those that are most like it, as long as there are enough of them.

    Args:
        past: completed runs, of the same experiment or the same cluster.

    Returns:
        None when there is nothing to learn from.
    """
    levels = (
        (
            "experiment, program and cluster",
            [p for p in past if p.same_experiment and p.same_program and p.same_cluster],
        ),
        ("experiment and program", [p for p in past if p.same_experiment and p.same_program]),
        ("experiment", [p for p in past if p.same_experiment]),
        ("cluster", [p for p in past if p.same_cluster]),
    )
    # Better a few that are alike than many that are not; one is better than none.
    for least in (_ENOUGH, 1):
        for name, found in levels:
            if len(found) >= least:
                seconds = [item.seconds for item in found]
                return Learned(quantile(seconds, _LOW), quantile(seconds, _HIGH), len(found), name)
    return None


async def learn(session: AsyncSession, run: Run) -> Learned | None:
    """How long runs like this one took; None when none has completed."""
    program = "entry_script" if run.request.get("entry_script") else "command"
    same = (
        Run.experiment_id == run.experiment_id,
        Run.request[program] == literal(run.request[program], JSONB),
        Run.cluster_id == run.cluster_id,
    )
    took = cast(func.extract("epoch", Run.ended_at - Run.started_at), Float)
    statement = (
        select(took, *(func.coalesce(condition, False) for condition in same))
        .where(Run.workspace_id == run.workspace_id, Run.status == "Completed", Run.kind == "job")
        .where(Run.started_at.is_not(None), or_(same[0], same[2]))
        .order_by(Run.ended_at.desc())
        .limit(_LOOKED_AT)
    )
    rows: Sequence[Row[Any]] = (await session.execute(statement)).all()
    return choose([Past._make(row) for row in rows])
