"""From rows and hosts to what the planner sees."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from math import inf
from typing import Any, NamedTuple

from sqlalchemy import Row
from sqlalchemy.ext.asyncio import AsyncSession

from app.clusters.vm_sizes import GIB, VmSize, vm_sizes
from app.costs import accounts, prices
from app.costs.budget import reservation
from app.hosts import repository as hosts_seen
from app.kernel.config import Settings
from app.kernel.odd_rows import ODD, ODD_ROWS, number_or_inf
from app.planning import repository
from app.providers.base import Capacity, HostState
from app.providers.base import Host as ProviderHost
from app.scheduling import types
from app.scheduling.forecast import Lasts
from app.scheduling.types import (
    Gang,
    Leaving,
    Limits,
    Node,
    Policy,
    Running,
    Size,
    Snapshot,
)
from app.tables.cluster import Cluster
from app.tables.host import SeenHost
from app.tables.planning import Quota

_UNKNOWN_SIZE = VmSize(name="", cores=1, memory_gb=1)
_FREE = Decimal(0)
_STOPPING_SECONDS = 60.0
_ENDING = frozenset({"CancelRequested", "Finalizing"})


class OddRow(NamedTuple):
    """A row whose contents cannot be worked with.

    Attributes:
        table: that it is in.
        id: of the row.
        error: the type of error that reading it ends with.
    """

    table: str
    id: str
    error: str


class _RunLimits(NamedTuple):
    seconds: float = inf
    cost: float = inf


_LimitsOfRuns = Mapping[str, _RunLimits]


@dataclass(frozen=True)
class Loaded:
    """A snapshot and the rows that it was made of.

    Attributes:
        snapshot: what the planner sees.
        clusters: rows by id.
        blockers: what waiting runs say now, by run.
        prices: of an hour of a node, by waiting run.
        hosts_change_in_seconds: when what runs on hosts that are being drained has to leave, and
            when those that are left alone are tried again.
        spent_runs: waiting runs that may not cost more than they have.
        lasts: how long running runs still go on, and how long waiting ones will take.
        odd: rows that cannot be worked with. Of runs, waiting ones are not in the queue, and
            running ones are taken to have no limits; nodes are not used for anything new.
    """

    snapshot: Snapshot
    clusters: Mapping[str, Cluster]
    blockers: Mapping[str, list[dict[str, Any]]]
    prices: Mapping[str, Decimal]
    hosts_change_in_seconds: Sequence[float]
    spent_runs: Sequence[str]
    lasts: Mapping[str, Lasts]
    odd: frozenset[OddRow] = frozenset()


async def load(session: AsyncSession, settings: Settings, hosts: Sequence[ProviderHost]) -> Loaded:
    """Everything that shares the hosts, as it is now.

    Args:
        session: a transaction; nothing is locked.
        settings: the operator's settings.
        hosts: as the provider sees them.
    """
    clusters = {
        row.id: row
        for row in await repository.clusters(session)
        if row.provisioning_state != "Deleting"
    }
    everybody = [row for row in await repository.queue(session) if row.cluster_id in clusters]
    running = [row for row in await repository.running(session) if row.cluster_id in clusters]
    limits, odd = _limits_of([*everybody, *running])
    unreadable = {each.id for each in odd}
    waiting = [row for row in everybody if row.id not in unreadable]
    queue = [row for row in waiting if row.cost < limits[row.id].cost]
    experiments = sorted({row.experiment_id for row in [*queue, *running]}) if queue else []
    durations = await repository.durations(session, experiments)
    quotas = await repository.quotas(session)
    usage = await repository.usage(session) if queue else []
    of_sizes = await prices.current(session, settings) if queue else {}
    wanted = {row.name: row for row in await repository.host_settings(session)}
    of_runs = {row.id: of_sizes.get(clusters[row.cluster_id].vm_size, _FREE) for row in queue}
    budgets = (await accounts.load(session)).available() if queue else {}
    failing = await repository.failing_hosts(session)
    ready = {host.name for host in hosts if host.state == HostState.READY}
    if not ready - set(failing) - {row.name for row in wanted.values() if row.is_draining}:
        failing = {}  # where there is no other, it is tried all the same
    nodes = [row for row in await repository.nodes(session) if row.cluster_id in clusters]
    snapshot = Snapshot(
        hosts=tuple(
            _host(settings, host, wanted.get(host.name), is_failing=host.name in failing)
            for host in hosts
        ),
        clusters=tuple(cluster_of(settings, row) for row in clusters.values()),
        nodes=tuple(_node(row, hosts, odd) for row in nodes),
        running=tuple(_running(row, durations, limits) for row in running),
        queue=tuple(_gang(row, float(of_runs[row.id]), limits) for row in queue),
        workspace_limits={q.owner_id: _limits(q) for q in quotas if q.kind == "workspace"},
        user_limits={q.owner_id: _limits(q) for q in quotas if q.kind == "user"},
        workspace_budgets=budgets,
        policy=Policy(
            ageing_seconds=settings.priority_ageing_seconds,
            shares={quota.owner_id: quota.share for quota in quotas if quota.kind == "workspace"},
        ),
        **_usage(settings, usage, clusters),
    )
    drains = [row.seconds_left for row in wanted.values() if row.is_draining]
    return Loaded(
        snapshot,
        clusters,
        blockers={row.id: row.blockers for row in everybody},
        prices=of_runs,
        spent_runs=[row.id for row in waiting if row.cost >= limits[row.id].cost],
        hosts_change_in_seconds=[
            *failing.values(),
            *(seconds for seconds in drains if seconds is not None and seconds > 0),
        ],
        lasts={row.id: _goes_on(row, durations, limits) for row in running}
        | {row.id: _takes(row, durations, limits) for row in queue},
        odd=frozenset(odd),
    )


async def seen_hosts(session: AsyncSession, settings: Settings) -> list[types.Host]:
    """All hosts as workers last saw them; none before a worker has looked."""
    wanted = {row.name: row for row in await repository.host_settings(session)}
    return [
        _host(settings, provider_host(row), wanted.get(row.name), is_failing=False)
        for row in (await hosts_seen.seen(session)).values()
    ]


def provider_host(row: SeenHost) -> ProviderHost:
    """A host as a worker last saw it, for those who cannot ask the provider."""
    return ProviderHost(
        name=row.name,
        capacity=Capacity(row.cores, row.memory_bytes, row.gpus),
        state=HostState.READY if row.state == HostState.READY else HostState.UNKNOWN,
    )


def _host(
    settings: Settings, host: ProviderHost, wanted: Row[Any] | None, *, is_failing: bool
) -> types.Host:
    capacity = host.capacity if wanted is None else _within(host.capacity, wanted)
    is_draining = wanted is not None and wanted.is_draining
    overcommit = settings.node_overcommit
    return types.Host(
        name=host.name,
        # Cores are handed out more than once; of memory a node gets a smaller part (decision 0003).
        total=Size(capacity.cores * overcommit, capacity.memory_bytes, capacity.gpus),
        node_limit=Size(capacity.cores, int(capacity.memory_bytes / overcommit), capacity.gpus),
        gpu_ids=tuple(str(number) for number in range(capacity.gpus)),
        takes_work=host.state == HostState.READY and not is_draining,
        takes_new_nodes=not is_failing,
        leaving=_leaving(wanted) if wanted is not None and is_draining else Leaving.NOBODY,
    )


def _within(capacity: Capacity, limits: Row[Any]) -> Capacity:
    return Capacity(
        cores=_least(capacity.cores, limits.cores),
        memory_bytes=int(_least(capacity.memory_bytes, limits.memory_bytes)),
        gpus=int(_least(capacity.gpus, limits.gpus)),
    )


def _least(have: float, most: float | None) -> float:
    return have if most is None else min(have, most)


def _leaving(drain: Row[Any]) -> Leaving:
    is_over = drain.seconds_left is not None and drain.seconds_left <= 0
    return Leaving.EVERYBODY if is_over else Leaving.LOW_PRIORITY


def cluster_of(settings: Settings, row: Cluster) -> types.Cluster:
    """A cluster as the planner sees it."""
    sizes = vm_sizes(settings.vm_sizes_file)
    # A size that its operator has taken away stops its clusters, not everybody else's.
    is_known = row.vm_size in sizes
    nominal = sizes.get(row.vm_size, _UNKNOWN_SIZE)
    return types.Cluster(
        id=row.id,
        workspace_id=row.workspace_id,
        node_size=Size(float(nominal.cores), int(nominal.memory_gb * GIB), nominal.gpus),
        min_nodes=row.min_nodes if is_known else 0,
        max_nodes=row.max_nodes,
        idle_seconds_before_scaledown=row.idle_seconds_before_scaledown,
        is_low_priority=row.vm_priority == "lowpriority",
        is_enabled=row.is_enabled and is_known,
        packs=row.node_placement == "pack",
    )


def _limits_of(rows: Sequence[Row[Any]]) -> tuple[_LimitsOfRuns, list[OddRow]]:
    found, odd = {}, []
    for row in rows:
        try:
            found[row.id] = _RunLimits(
                number_or_inf(row.limit_seconds), number_or_inf(row.max_cost)
            )
        except ODD as error:
            found[row.id] = _RunLimits()
            odd.append(_noted("runs", row.id, error))
    return found, odd


def _noted(table: str, row_id: str, error: Exception) -> OddRow:
    ODD_ROWS.labels(table).inc()
    return OddRow(table, row_id, type(error).__name__)


def _gpu_ids(row: Row[Any]) -> tuple[str, ...]:
    found = tuple(row.gpu_ids)
    if not all(isinstance(gpu_id, str) for gpu_id in found):
        raise TypeError("these are no ids of GPUs")
    return found


def _node(row: Row[Any], hosts: Sequence[ProviderHost], odd: list[OddRow]) -> Node:
    is_usable = row.is_usable
    try:
        gpu_ids = _gpu_ids(row)
    except ODD as error:
        odd.append(_noted("cluster_nodes", row.id, error))
        # Any of its host's may be its own. It goes, and comes back in order, when it is idle.
        gpus = sum(host.capacity.gpus for host in hosts if host.name == row.host)
        gpu_ids, is_usable = tuple(str(number) for number in range(gpus)), False
    return Node(
        id=row.id,
        cluster_id=row.cluster_id,
        host=row.host,
        index=row.node_index,
        size=Size(row.cores, row.memory_bytes, row.gpus),
        gpu_ids=gpu_ids,
        run_id=row.run_id or "",
        idle_seconds=row.idle_seconds,
        is_usable=is_usable,
    )


def _running(
    row: Row[Any], durations: Mapping[str, tuple[float, float]], limits: _LimitsOfRuns
) -> Running:
    learned = durations.get(row.experiment_id)
    limit = limits[row.id].seconds
    expected = learned[0] if learned else limit
    return Running(
        run_id=row.id,
        cluster_id=row.cluster_id,
        user_id=row.created_by,
        priority=row.priority,
        running_seconds=row.running_seconds,
        # Rather too early: then what is backfilled has ended when the head could really start.
        ends_in_seconds=0.0 if expected == inf else max(0.0, expected - row.running_seconds),
        is_stopping=row.gives_way_because is not None or row.status in _ENDING,
        gives_way=row.gives_way_because is not None,
    )


def _takes(
    row: Row[Any], durations: Mapping[str, tuple[float, float]], limits: _LimitsOfRuns
) -> Lasts:
    limit = limits[row.id].seconds
    shortest, longest = durations.get(row.experiment_id, (0.0, limit))
    return Lasts(min(shortest, limit), min(longest, limit))


def _goes_on(
    row: Row[Any], durations: Mapping[str, tuple[float, float]], limits: _LimitsOfRuns
) -> Lasts:
    if row.gives_way_because is not None or row.status in _ENDING:
        return Lasts(0.0, _STOPPING_SECONDS)
    taken, limit = row.running_seconds, limits[row.id].seconds
    takes = _takes(row, durations, limits)
    # One that goes on for longer than most may go on to its limit.
    longest = takes.longest if takes.longest > taken else limit
    return Lasts(max(0.0, takes.shortest - taken), max(0.0, longest - taken))


def _gang(row: Row[Any], price_per_node_hour: float, limits: _LimitsOfRuns) -> Gang:
    return Gang(
        run_id=row.id,
        cluster_id=row.cluster_id,
        user_id=row.created_by,
        node_count=row.node_count,
        queued_seconds=max(0.0, row.queued_seconds),
        priority=row.priority,
        at_most_seconds=limits[row.id].seconds,
        cost=reservation(
            price_per_node_hour=price_per_node_hour,
            node_count=row.node_count,
            limit_seconds=limits[row.id].seconds,
            left=limits[row.id].cost - row.cost,
        ),
    )


def _limits(quota: Quota) -> Limits:
    return Limits(
        *(
            inf if value is None else float(value)
            for value in (quota.runs, quota.nodes, quota.cores, quota.gpus)
        )
    )


def _usage(
    settings: Settings, rows: Sequence[Row[Any]], clusters: Mapping[str, Cluster]
) -> dict[str, dict[str, float]]:
    of_workspace: dict[str, float] = {}
    of_user: dict[str, float] = {}
    for row in rows:
        cluster = clusters.get(row.cluster_id)
        if cluster is None:
            continue
        size = vm_sizes(settings.vm_sizes_file).get(cluster.vm_size, _UNKNOWN_SIZE)
        used = float(row.node_seconds) * size.cores
        of_workspace[cluster.workspace_id] = of_workspace.get(cluster.workspace_id, 0.0) + used
        of_user[row.created_by] = of_user.get(row.created_by, 0.0) + used
    return {"workspace_usage": of_workspace, "user_usage": of_user}
