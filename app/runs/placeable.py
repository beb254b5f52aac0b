"""Refusing what can never be placed, before a row is written."""

from math import inf

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncSession

from app.costs import prices
from app.costs.budget import reservation
from app.kernel.config import Settings
from app.kernel.errors import Invalid, invalid_field
from app.planning.snapshot import cluster_of, seen_hosts
from app.runs.schemas import RunCreate
from app.scheduling.rooms import Holding
from app.tables.cluster import Cluster
from app.tables.cost import Budget
from app.tables.planning import Quota


async def check_placeable(
    session: AsyncSession, settings: Settings, *, cluster: Cluster, body: RunCreate, actor: str
) -> None:
    """See that the run could start one day, if everything else were gone.

    Args:
        session: to read in.
        settings: the operator's settings.
        cluster: where it is to run.
        body: what is asked for.
        actor: who asks.

    Raises:
        Invalid: it never could; the field is named.
    """
    if body.node_count > cluster.max_nodes:
        raise _nodes(
            "larger_than_cluster",
            f"Cluster {cluster.name!r} has at most {cluster.max_nodes} nodes: ask for fewer, or "
            "raise its max_nodes.",
        )
    await _check_hosts(session, settings, cluster, body)
    await _check_quotas(session, settings, cluster, body, actor)
    await _check_money(session, settings, cluster, body)


def _nodes(code: str, message: str) -> Invalid:
    return invalid_field("/node_count", code, message)


async def _check_hosts(
    session: AsyncSession, settings: Settings, cluster: Cluster, body: RunCreate
) -> None:
    seen = await seen_hosts(session, settings)
    size = cluster_of(settings, cluster).node_size
    most = Holding(seen).count(size)
    # Before a worker has looked, nobody knows what hosts there are.
    if seen and body.node_count > most:
        raise _nodes(
            "larger_than_hosts",
            f"All hosts together have room for {most} nodes of size {cluster.vm_size}: ask for "
            "fewer, or for a smaller size.",
        )


async def _check_quotas(
    session: AsyncSession, settings: Settings, cluster: Cluster, body: RunCreate, actor: str
) -> None:
    owners = [("workspace", cluster.workspace_id), ("user", actor)]
    size = cluster_of(settings, cluster).node_size
    which = tuple_(Quota.kind, Quota.owner_id).in_(owners)
    # Where both are too small, it is always the workspace's that is told.
    quotas = select(Quota).where(which).order_by(Quota.kind.desc())
    for quota in await session.scalars(quotas):
        for name, allowed, wanted in (
            ("runs", quota.runs, 1.0),
            ("nodes", quota.nodes, float(body.node_count)),
            ("cores", quota.cores, body.node_count * size.cores),
            ("gpus", quota.gpus, float(body.node_count * size.gpus)),
        ):
            if allowed is not None and wanted > allowed:
                raise _nodes(
                    "larger_than_quota",
                    f"The quota of the {quota.kind} allows {allowed} {name} at a time, and this "
                    f"run alone has {wanted:g}.",
                )


async def _check_money(
    session: AsyncSession, settings: Settings, cluster: Cluster, body: RunCreate
) -> None:
    price = float((await prices.current(session, settings)).get(cluster.vm_size, 0))
    limit = body.max_run_duration_seconds or inf
    longest = price * body.node_count * limit / 3600 if price else 0.0
    if body.max_cost is not None and longest < inf and longest > body.max_cost:
        message = (
            f"{limit} s of {body.node_count} nodes cost {longest:.2f} {settings.currency}, more "
            "than max_cost: raise it, or lower max_run_duration_seconds."
        )
        raise invalid_field("/max_cost", "dearer_than_max_cost", message)
    budget = await session.scalar(
        select(Budget.amount).where(Budget.workspace_id == cluster.workspace_id)
    )
    kept = reservation(
        price_per_node_hour=price,
        node_count=body.node_count,
        limit_seconds=limit,
        left=inf if body.max_cost is None else body.max_cost,
    )
    if budget is not None and kept > budget:
        field = "max_run_duration_seconds" if body.max_cost is None else "max_cost"
        message = (
            f"{kept:.2f} {settings.currency} would be kept for the run, and the whole budget of "
            f"the workspace is {budget:.2f}: give it a lower {field}."
        )
        raise invalid_field(f"/{field}", "dearer_than_budget", message)
