"""Charges: opened when an attempt gets its nodes, closed when it gives them back."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Literal, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Float,
    Numeric,
    Row,
    Select,
    case,
    cast,
    func,
    insert,
    literal,
    select,
    type_coerce,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from app.tables.cluster import Cluster
from app.tables.cost import MONEY, Charge
from app.tables.experiment import Experiment
from app.tables.run import Run
from app.tables.workspace import Workspace

By = Literal["user", "experiment", "cluster", "vm_size", "workspace"]
_HOUR_SECONDS = 3600
CENT_DIGITS = 2
"""To which costs are shown while they grow: else every look would find another one."""
ALL_DIGITS = 6
"""To which they are shown afterwards."""
_NAMES: dict[By, Any] = {
    "user": Charge.created_by,
    "experiment": Charge.experiment_name,
    "cluster": Charge.cluster_name,
    "vm_size": Charge.vm_size,
    "workspace": Workspace.name,
}


def _seconds(
    since: datetime | None = None, until: datetime | None = None, charge: Any = Charge
) -> ColumnElement[Any]:
    """Seconds for which the nodes were held, or those of them between two moments."""
    ended: ColumnElement[Any] = func.coalesce(charge.ended_at, func.clock_timestamp())
    began: ColumnElement[Any] = charge.began_at
    if since is not None:
        began = func.greatest(began, since)
    if until is not None:
        ended = func.least(ended, until)
    return func.greatest(cast(func.extract("epoch", ended - began), Numeric), 0)


def amount(
    since: datetime | None = None, until: datetime | None = None, charge: Any = Charge
) -> ColumnElement[Any]:
    """What a charge amounts to by now: price x nodes x hours held.

    Args:
        since, until: only what was held between them counts.
        charge: `Charge`, or another name of it.
    """
    per_second = charge.price_per_node_hour * charge.node_count / _HOUR_SECONDS
    found: ColumnElement[Any] = per_second * _seconds(since, until, charge)
    return found


# While it goes on, to the hundredth: else every look at the run would read differently.
_DIGITS = case((func.bool_or(Charge.ended_at.is_(None)), CENT_DIGITS), else_=ALL_DIGITS)
_COST: ColumnElement[float] = func.coalesce(
    cast(func.round(func.sum(amount()), _DIGITS), Float), 0.0
)
COST_OF_RUN = select(_COST).where(Charge.run_id == Run.id).correlate(Run).scalar_subquery()
"""What a run costs by now, within a statement about runs."""


async def cost_of(session: AsyncSession, run_id: str) -> float:
    """What a run costs by now: as `COST_OF_RUN`."""
    return (await session.execute(select(_COST).where(Charge.run_id == run_id))).scalar_one()


class Spending(NamedTuple):
    """What a run costs by now, and what each further second adds."""

    cost: float
    per_second: float


async def of_runs(session: AsyncSession, run_ids: Sequence[str]) -> dict[str, Spending]:
    """What runs cost by now; those that never had nodes are not among them."""
    price = Charge.price_per_node_hour * Charge.node_count / _HOUR_SECONDS
    is_going = Charge.ended_at.is_(None)
    statement = (
        select(
            Charge.run_id,
            cast(func.sum(amount()), Float),
            cast(func.sum(case((is_going, price), else_=0)), Float),
        )
        .where(Charge.run_id.in_(run_ids))
        .group_by(Charge.run_id)
    )
    found = await session.execute(statement)
    return {run_id: Spending(cost, per_second) for run_id, cost, per_second in found}


async def begin(
    session: AsyncSession, *, run_id: str, price_per_node_hour: Decimal, reserved: float
) -> None:
    """The current attempt of a run has got its nodes.

    Args:
        session: the transaction that gives them.
        run_id: the run, flushed.
        price_per_node_hour: which is the attempt's price until its end.
        reserved: so much of the workspace's budget is kept for it.
    """
    chosen = (
        select(
            Run.id,
            Run.attempt,
            Run.workspace_id,
            Experiment.name,
            Cluster.name,
            Run.created_by,
            Cluster.vm_size,
            Run.node_count,
            literal(price_per_node_hour, MONEY),
            literal(Decimal(str(reserved)), MONEY),
        )
        .join(Experiment, Experiment.id == Run.experiment_id)
        .join(Cluster, Cluster.id == Run.cluster_id)
        .where(Run.id == run_id)
    )
    columns = [
        "run_id",
        "attempt",
        "workspace_id",
        "experiment_name",
        "cluster_name",
        "created_by",
        "vm_size",
        "node_count",
        "price_per_node_hour",
        "reserved",
    ]
    await session.execute(insert(Charge).from_select(columns, chosen))


async def end(session: AsyncSession, run_id: str) -> None:
    """The run has given back whatever nodes it had."""
    statement = update(Charge).where(Charge.run_id == run_id, Charge.ended_at.is_(None))
    await session.execute(statement.values(ended_at=func.clock_timestamp()))


class Place(NamedTuple):
    """Where a page of sums ends: at this name, which stands for so much."""

    cost: Decimal
    name: str


async def totals(
    session: AsyncSession,
    *,
    by: By,
    since: datetime,
    until: datetime,
    conditions: Sequence[ColumnElement[bool]],
    after: Place | None,
    most: int,
) -> Sequence[Row[Any]]:
    """Sums between two moments, the dearest first: name, cost, node_hours, runs.

    Beside them ``exact_cost``, which orders them, and ``total``, of all there are.

    Args:
        session: to read in.
        by: what is summed up.
        since, until: only what was held between them counts.
        conditions: about `Charge` and `Workspace`.
        after: only those after this place.
        most: no more than so many.
    """
    name = _NAMES[by]
    # Without the places of a price, to which the database would round what it is compared with.
    exact = type_coerce(func.sum(amount(since, until)), Numeric())
    cost = func.round(exact, ALL_DIGITS)
    hours = func.sum(Charge.node_count * _seconds(since, until)) / _HOUR_SECONDS
    sums = _between(
        select(
            name.label("name"),
            exact.label("exact_cost"),
            cast(cost, Float).label("cost"),
            cast(func.round(hours, ALL_DIGITS), Float).label("node_hours"),
            func.count(Charge.run_id.distinct()).label("runs"),
            cast(func.sum(cost).over(), Float).label("total"),
        )
        .join(Workspace, Workspace.id == Charge.workspace_id)
        .where(*conditions)
        .group_by(name),
        since,
        until,
    ).subquery()
    statement = select(sums).order_by(sums.c.exact_cost.desc(), sums.c.name).limit(most)
    if after is not None:
        is_cheaper = sums.c.exact_cost < after.cost
        is_later = (sums.c.exact_cost == after.cost) & (sums.c.name > after.name)
        statement = statement.where(is_cheaper | is_later)
    found: Sequence[Row[Any]] = (await session.execute(statement)).all()
    return found


async def held(
    session: AsyncSession, *, workspace_id: str, since: datetime, until: datetime
) -> Sequence[Row[Any]]:
    """Who held nodes between two moments, and what a second of them cost."""
    per_second = Charge.price_per_node_hour * Charge.node_count / _HOUR_SECONDS
    statement = select(
        Charge.created_by,
        Charge.began_at,
        Charge.ended_at,
        cast(per_second, Float).label("per_second"),
    ).where(Charge.workspace_id == workspace_id)
    found: Sequence[Row[Any]] = (await session.execute(_between(statement, since, until))).all()
    return found


async def spent(
    session: AsyncSession, *, workspace_id: str, since: datetime, until: datetime
) -> float:
    """What a workspace spent between two moments."""
    total: ColumnElement[float] = func.coalesce(cast(func.sum(amount(since, until)), Float), 0.0)
    statement = select(total).where(Charge.workspace_id == workspace_id)
    found: float = (await session.execute(_between(statement, since, until))).scalar_one()
    return found


def _between(statement: Select[Any], since: datetime, until: datetime) -> Select[Any]:
    is_later = Charge.ended_at.is_(None) | (Charge.ended_at > since)
    return statement.where(Charge.began_at < until, is_later)
