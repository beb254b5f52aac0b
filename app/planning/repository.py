"""What the planner looks at, in a few queries whatever the number of clusters."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Float, Row, case, cast, exists, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs.charges import COST_OF_RUN
from app.tables.cluster import Cluster, ClusterNode
from app.tables.host import HostFailure, HostSettings
from app.tables.planning import Quota
from app.tables.run import Attempt, Run

_HALF_LIFE_SECONDS = 86_400.0
_FORGOTTEN_AFTER_SECONDS = 7 * 86_400.0
_LEARNED_FROM = 50
# As text: a database that is to make a number of what is none refuses all rows.
_LIMIT_SECONDS = Run.request["max_run_duration_seconds"].as_string().label("limit_seconds")
_MAX_COST = Run.request["max_cost"].as_string().label("max_cost")


def _seconds_since(moment: Any) -> Any:
    return cast(func.extract("epoch", func.clock_timestamp() - moment), Float)


async def clusters(session: AsyncSession) -> Sequence[Cluster]:
    """All clusters, by id."""
    statement = select(Cluster).order_by(Cluster.id).execution_options(populate_existing=True)
    return (await session.execute(statement)).scalars().all()


async def nodes(session: AsyncSession) -> Sequence[Row[Any]]:
    """All nodes of clusters, with the seconds that they have been idle."""
    columns = (
        ClusterNode.id,
        ClusterNode.cluster_id,
        ClusterNode.host,
        ClusterNode.index.label("node_index"),
        ClusterNode.cores,
        ClusterNode.memory_bytes,
        ClusterNode.gpus,
        ClusterNode.gpu_ids,
        ClusterNode.run_id,
        ClusterNode.unusable_because.is_(None).label("is_usable"),
        func.coalesce(_seconds_since(ClusterNode.idle_since), 0.0).label("idle_seconds"),
    )
    return (await session.execute(select(*columns).order_by(ClusterNode.id))).all()


async def queue(session: AsyncSession) -> Sequence[Row[Any]]:
    """Runs that wait for nodes: queued, and without nodes in their current attempt.

    Their limits are texts, which may be no numbers.
    """
    has_nodes = exists().where(ClusterNode.run_id == Run.id)
    columns = (
        Run.id,
        Run.cluster_id,
        Run.created_by,
        Run.node_count,
        Run.priority,
        Run.experiment_id,
        Run.blockers,
        _LIMIT_SECONDS,
        _seconds_since(func.coalesce(Run.queued_at, Run.created_at)).label("queued_seconds"),
        _MAX_COST,
        # Only attempts cost something.
        case((Run.attempt > 0, COST_OF_RUN), else_=0.0).label("cost"),
    )
    statement = select(*columns).where(
        Run.status == "Queued", Run.cluster_id.is_not(None), ~has_nodes
    )
    return (await session.execute(statement)).all()


async def running(session: AsyncSession) -> Sequence[Row[Any]]:
    """Runs that have nodes, with the age of their attempt; limits are texts as in `queue`."""
    has_nodes = exists().where(ClusterNode.run_id == Run.id)
    columns = (
        Run.id,
        Run.cluster_id,
        Run.created_by,
        Run.priority,
        Run.experiment_id,
        Run.status,
        Attempt.gives_way_because,
        _LIMIT_SECONDS,
        _MAX_COST,
        _seconds_since(Attempt.created_at).label("running_seconds"),
    )
    statement = (
        select(*columns)
        .join(Attempt, (Attempt.run_id == Run.id) & (Attempt.number == Run.attempt))
        .where(Run.cluster_id.is_not(None), has_nodes)
    )
    return (await session.execute(statement)).all()


async def host_settings(session: AsyncSession) -> Sequence[Row[Any]]:
    """What administrators want of hosts; of a drain the seconds until its deadline."""
    columns = (
        HostSettings.name,
        HostSettings.cores,
        HostSettings.memory_bytes,
        HostSettings.gpus,
        HostSettings.draining_since.is_not(None).label("is_draining"),
        (-_seconds_since(HostSettings.drain_by)).label("seconds_left"),
    )
    return (await session.execute(select(*columns))).all()


async def failing_hosts(session: AsyncSession) -> dict[str, float]:
    """Hosts that are left alone because nodes could not be started there, and for how long yet."""
    left = -_seconds_since(HostFailure.retry_at)
    statement = select(HostFailure.name, left).where(left > 0)
    return {name: float(seconds) for name, seconds in await session.execute(statement)}


async def quotas(session: AsyncSession) -> Sequence[Quota]:
    """All quotas and shares."""
    return (await session.execute(select(Quota))).scalars().all()


async def usage(session: AsyncSession) -> Sequence[Row[Any]]:
    """Node-seconds by cluster and user, those of a day ago counted half, of two days a quarter."""
    ended = func.coalesce(Attempt.ended_at, func.clock_timestamp())
    seconds = cast(func.extract("epoch", ended - Attempt.created_at), Float)
    weight = func.power(0.5, _seconds_since(ended) / _HALF_LIFE_SECONDS)
    used = func.sum(seconds * weight * Run.node_count).label("node_seconds")
    statement = (
        select(Run.cluster_id, Run.created_by, used)
        .join(Attempt, Attempt.run_id == Run.id)
        .where(Run.cluster_id.is_not(None))
        .where((Attempt.ended_at.is_(None)) | (_seconds_since(ended) < _FORGOTTEN_AFTER_SECONDS))
        .group_by(Run.cluster_id, Run.created_by)
    )
    rows: Sequence[Row[Any]] = (await session.execute(statement)).all()
    return rows


async def durations(
    session: AsyncSession, experiment_ids: Sequence[str]
) -> dict[str, tuple[float, float]]:
    """How long runs of experiments took: the shortest and the longest tenth, in seconds.

    Learned from the last runs that completed; experiments without any are absent.
    """
    if not experiment_ids:
        return {}
    took = cast(func.extract("epoch", Run.ended_at - Run.started_at), Float)
    number = func.row_number().over(partition_by=Run.experiment_id, order_by=Run.ended_at.desc())
    last = (
        select(Run.experiment_id, took.label("took"), number.label("number"))
        .where(Run.experiment_id.in_(experiment_ids), Run.status == "Completed")
        .where(Run.started_at.is_not(None), Run.ended_at.is_not(None))
        .subquery()
    )
    low = func.percentile_cont(0.1).within_group(last.c.took)
    high = func.percentile_cont(0.9).within_group(last.c.took)
    statement = (
        select(last.c.experiment_id, low, high)
        .where(last.c.number <= _LEARNED_FROM)
        .group_by(last.c.experiment_id)
    )
    found = await session.execute(statement)
    return {experiment: (float(first), float(second)) for experiment, first, second in found}
