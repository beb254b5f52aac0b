"""Clusters: writing what is wanted, showing what is."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlalchemy.ext.asyncio import AsyncSession

from app.clusters import repository
from app.clusters.errors import ClusterBusy, ClusterDeleting
from app.clusters.schemas import (
    ClusterNodeRead,
    ClusterPut,
    ClusterRead,
    ClusterUpdate,
    NodeStateCounts,
    ScaleSettings,
)
from app.clusters.vm_sizes import VmSize, vm_sizes
from app.kernel.config import Settings
from app.kernel.errors import invalid_field
from app.kernel.ids import new_id
from app.kernel.tags import merged_tags
from app.planning.service import wake_planner
from app.tables.cluster import Cluster, ClusterNode


def find_size(settings: Settings, name: str) -> VmSize:
    """The size of this name.

    Raises:
        Invalid: there is none; the message lists those there are.
    """
    sizes = vm_sizes(settings.vm_sizes_file)
    size = sizes.get(name.upper())
    if size is None:
        known = ", ".join(sorted(sizes))
        raise invalid_field(
            "/vm_size", "unknown_vm_size", f"There is no vm_size {name!r}. There are: {known}."
        )
    return size


async def put(
    session: AsyncSession, settings: Settings, *, workspace_id: str, name: str, body: ClusterPut
) -> tuple[Cluster, bool]:
    """Create a cluster, or change an existing one to what ``body`` says.

    Returns:
        The row and whether it is new.

    Raises:
        Invalid: unknown size, or an attempt to change the size of an existing cluster.
        ClusterDeleting: it is being deleted.
    """
    size = find_size(settings, body.vm_size)
    await wake_planner(session)
    row = await repository.find(session, workspace_id, name)
    if row is None:
        row = Cluster(id=new_id("cl"), workspace_id=workspace_id, name=name, vm_size=size.name)
        _write(row, body)
        session.add(row)
        await session.flush()
        return row, True
    _refuse_deleting(row)
    if row.vm_size != size.name:
        message = f"The cluster has vm_size {row.vm_size}; delete it to have another size."
        raise invalid_field("/vm_size", "vm_size_immutable", message)
    _write(row, body)
    await _note_size(session, row)
    await session.flush()
    return row, False


async def update(session: AsyncSession, row: Cluster, body: ClusterUpdate) -> None:
    """Change what ``body`` names, in a transaction that has woken the planner before it read.

    Raises:
        Invalid: the minimum would be larger than the maximum.
        ClusterDeleting: it is being deleted.
    """
    _refuse_deleting(row)
    for field in body.model_fields_set - {"description", "tags"}:
        value = getattr(body, field)
        if value is not None:
            setattr(row, field, value)
    if "description" in body.model_fields_set:
        row.description = body.description or ""
    if "tags" in body.model_fields_set:
        row.tags = merged_tags(row.tags, body.tags)
    if row.min_nodes > row.max_nodes:
        message = "min_nodes must not be larger than max_nodes."
        raise invalid_field("/min_nodes", "min_over_max", message)
    await _note_size(session, row)
    await session.flush()


async def delete(session: AsyncSession, row: Cluster) -> None:
    """Have the cluster removed by the next plan; the transaction woke the planner before it read.

    Raises:
        ClusterBusy: runs wait for it or run on it, or sweeps or batch scorings need it yet.
    """
    # Whoever is being accepted holds the row: only when they are through can they be seen.
    await session.refresh(row, with_for_update=True)
    users = await repository.users(session, row)
    if users:
        raise ClusterBusy(
            f"Cluster {row.name!r} is used, among others by {' and '.join(users)}: cancel what "
            "uses it, or wait for its end."
        )
    row.provisioning_state = "Deleting"
    row.provisioning_state_at = _now()
    await session.flush()


async def read(session: AsyncSession, row: Cluster) -> ClusterRead:
    """The cluster as the API shows it; counts are those of this moment."""
    read_one = await reader(session, [row])
    return read_one(row)


async def reader(
    session: AsyncSession, rows: Sequence[Cluster]
) -> Callable[[Cluster], ClusterRead]:
    """Makes what the API shows of each of these clusters; counts are those of this moment."""
    counts = {row.id: await repository.node_state_counts(session, row.id) for row in rows}
    return lambda row: _read(row, counts[row.id])


def _read(row: Cluster, counts: dict[str, int]) -> ClusterRead:
    return ClusterRead(
        id=row.id,
        name=row.name,
        description=row.description,
        tags=row.tags,
        vm_size=row.vm_size,
        vm_priority=row.vm_priority,
        node_placement=row.node_placement,
        is_enabled=row.is_enabled,
        provisioning_state=row.provisioning_state,
        provisioning_state_transition_time=row.provisioning_state_at,
        allocation_state=row.allocation_state,
        allocation_state_transition_time=row.allocation_state_at,
        current_node_count=sum(counts.values()),
        target_node_count=row.target_node_count,
        node_state_counts=NodeStateCounts(**counts),
        scale_settings=ScaleSettings(
            min_nodes=row.min_nodes,
            max_nodes=row.max_nodes,
            idle_seconds_before_scaledown=row.idle_seconds_before_scaledown,
        ),
        failed_starts=row.failed_starts,
        errors=_errors(row),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def read_node(row: ClusterNode, state: str) -> ClusterNodeRead:
    """A node as the API shows it."""
    return ClusterNodeRead(
        id=row.id,
        index=row.index,
        state=state,
        run_id=row.run_id,
        failed_starts=row.failed_starts,
        unusable_because=row.unusable_because,
        host=row.host,
        cores=row.cores,
        memory_bytes=row.memory_bytes,
        gpus=row.gpus,
        created_at=row.created_at,
        idle_since=row.idle_since,
    )


def _errors(row: Cluster) -> list[dict[str, Any]]:
    if row.start_error is None:
        return row.errors
    return [*row.errors, {"code": "node_start_failed", **row.start_error}]


async def _note_size(session: AsyncSession, row: Cluster) -> None:
    # The planner says so as well, a moment later.
    counts = await repository.node_state_counts(session, row.id)
    if row.min_nodes <= sum(counts.values()) <= row.max_nodes:
        return
    if row.allocation_state != "Resizing":
        row.allocation_state = "Resizing"
        row.allocation_state_at = _now()


def _write(row: Cluster, body: ClusterPut) -> None:
    row.vm_priority = body.vm_priority
    row.min_nodes = body.min_nodes
    row.max_nodes = body.max_nodes
    row.idle_seconds_before_scaledown = body.idle_seconds_before_scaledown
    row.node_placement = body.node_placement
    row.is_enabled = body.is_enabled
    row.description = body.description
    row.tags = dict(body.tags)


def _refuse_deleting(row: Cluster) -> None:
    if row.provisioning_state == "Deleting":
        raise ClusterDeleting(f"Cluster {row.name!r} is being deleted; try again when it is gone.")


def _now() -> datetime:
    # A SQL expression: the database's time, not this host's.
    return func.clock_timestamp()  # type: ignore[return-value]
