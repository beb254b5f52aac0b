"""Attempts: giving a run its nodes, and taking them back."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import aliased

from app.costs import charges
from app.kernel.wake import wake
from app.planning.service import wake_planner
from app.runs.blockers import blocker
from app.runs.children import end_children
from app.runs.states import BlockerCode, Status
from app.runs.transitions import add_event, lock_run
from app.tables.cluster import ClusterNode
from app.tables.run import Attempt, Run, RunEvent, RunFile, RunNode
from app.tables.tracking import RunParam

_UPLOADS = ("upload", "mlflow")


def node_name(run_id: str, attempt: int, node_index: int) -> str:
    """The deterministic name of a node, so that a crashed creator's successor adopts it."""
    return f"tw-{run_id}-a{attempt}-n{node_index}"


def run_of(node: str) -> str:
    """The id of the run that a node of this name works for."""
    return node.removeprefix("tw-").rsplit("-", 2)[0]


def network_name(run_id: str, attempt: int) -> str:
    """The private network of an attempt's nodes, where nodes have one."""
    return f"tw-{run_id}-a{attempt}"


async def begin(
    session: AsyncSession,
    *,
    run_id: str,
    cluster_node_ids: Sequence[str],
    price_per_node_hour: Decimal,
    reserved: float,
) -> None:
    """Give a queued run its nodes: the rows of the new attempt, before anything is started.

    Drops the placement silently when the run is not queued any more (planned on a stale view).
    """
    run = await lock_run(session, run_id)
    if run.status != Status.QUEUED:
        return
    await _set_uploads_aside(session, run)
    await _take_properties_back(session, run)
    await _take_params_back(session, run)
    reason = f"attempt {run.attempt} of run {run.id}, whose script kept it, was lost"
    await end_children(session, run, Status.FAILED, actor="scheduler", reason=reason)
    run.attempt += 1
    session.add(Attempt(run_id=run.id, number=run.attempt))
    await session.flush()
    places = await session.execute(
        select(ClusterNode.id, ClusterNode.host).where(ClusterNode.id.in_(cluster_node_ids))
    )
    hosts: dict[str, str] = {node_id: host for node_id, host in places}  # noqa: C416
    for index, cluster_node_id in enumerate(cluster_node_ids):
        session.add(
            RunNode(
                name=node_name(run.id, run.attempt, index),
                run_id=run.id,
                attempt=run.attempt,
                node_index=index,
                cluster_node_id=cluster_node_id,
                host=hosts[cluster_node_id],
            )
        )
    await session.execute(
        update(ClusterNode)
        .where(ClusterNode.id.in_(cluster_node_ids))
        .values(run_id=run.id, idle_since=None)
    )
    run.blockers = [blocker(BlockerCode.NODE_STARTING, f"attempt {run.attempt}", "it has started")]
    add_event(
        session,
        run,
        kind="attempt_started",
        actor="scheduler",
        data={"attempt": run.attempt, "nodes": len(cluster_node_ids)},
    )
    await session.flush()
    await charges.begin(
        session, run_id=run.id, price_per_node_hour=price_per_node_hour, reserved=reserved
    )
    await wake(session, Run, run.id)


async def _set_uploads_aside(session: AsyncSession, run: Run) -> None:
    # What the script of a lost attempt uploaded: the next one uploads under the same names, with
    # other content where training is not exact to the bit. Logs of lost attempts go there too.
    if not run.attempt:
        return
    aside = func.concat(f"attempts/{run.attempt}/", RunFile.path)
    there = aliased(RunFile)
    is_taken = select(there.path).where(there.run_id == run.id, there.path == aside).exists()
    await session.execute(
        update(RunFile)
        .where(RunFile.run_id == run.id, RunFile.origin.in_(_UPLOADS))
        .where(RunFile.attempt == run.attempt)
        .where(~is_taken)
        .values(path=aside)
        .execution_options(synchronize_session=False)
    )


async def _take_properties_back(session: AsyncSession, run: Run) -> None:
    # Properties never change, but those that a lost attempt added are the next one's to add.
    found = await session.execute(
        select(RunEvent.data["added_properties"]).where(
            RunEvent.run_id == run.id,
            RunEvent.type == "updated",
            RunEvent.data.contains({"attempt": run.attempt}),
        )
    )
    gone = {key for keys in found.scalars() for key in keys}
    run.properties = {key: value for key, value in run.properties.items() if key not in gone}


async def _take_params_back(session: AsyncSession, run: Run) -> None:
    # Parameters are written once as well.
    if run.attempt:
        await session.execute(
            delete(RunParam).where(RunParam.run_id == run.id, RunParam.attempt == run.attempt)
        )


async def release_nodes(session: AsyncSession, run: Run) -> None:
    """Give the cluster its nodes back, and have it planned anew."""
    statement = (
        update(ClusterNode)
        .where(ClusterNode.run_id == run.id)
        .values(run_id=None, idle_since=func.clock_timestamp())
        .returning(ClusterNode.id)
    )
    released = (await session.execute(statement)).all()
    await charges.end(session, run.id)
    if released:
        await wake_planner(session)


async def nodes_of(session: AsyncSession, run_id: str, *numbers: int) -> Sequence[RunNode]:
    """Nodes of these attempts of a run, or without any numbers of all, by attempt and index."""
    statement = select(RunNode).where(RunNode.run_id == run_id)
    if numbers:
        statement = statement.where(RunNode.attempt.in_(numbers))
    statement = statement.order_by(RunNode.attempt, RunNode.node_index)
    statement = statement.execution_options(populate_existing=True)
    return (await session.execute(statement)).scalars().all()


async def current(session: AsyncSession, run: Run) -> Attempt | None:
    """The run's latest attempt; None before the first."""
    return await session.get(Attempt, (run.id, run.attempt), populate_existing=True)


async def age_seconds(session: AsyncSession, run: Run) -> float:
    """Seconds since the current attempt began, by database time."""
    age = func.extract("epoch", func.clock_timestamp() - Attempt.created_at)
    statement = select(age).where(Attempt.run_id == run.id, Attempt.number == run.attempt)
    return float((await session.execute(statement)).scalar_one_or_none() or 0.0)


async def end(
    session: AsyncSession, run: Run, *, outcome: str, error: dict[str, Any] | None
) -> None:
    """Write how the current attempt ended."""
    await session.execute(
        update(Attempt)
        .where(Attempt.run_id == run.id, Attempt.number == run.attempt)
        .values(outcome=outcome, error=error, ended_at=func.clock_timestamp())
    )
