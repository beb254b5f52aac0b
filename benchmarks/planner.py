"""How long one cycle takes: 10,000 hosts in use, 100,000 gangs in the queue.

With all that a cycle does: quotas, budgets, reservations, and when those who wait may start. The
floor is sorting the queue once, which no planner can do without.
"""

import random
import resource
from collections.abc import Callable
from statistics import median
from time import perf_counter, process_time

from app.scheduling.forecast import Lasts, forecast
from app.scheduling.planner import plan
from app.scheduling.types import Cluster, Gang, Host, Limits, Node, Running, Size, Snapshot
from benchmarks.figure import Figure, over_floor

_GIB = 1024**3
_HOSTS, _GANGS, _CLUSTERS, _REPETITIONS = 10_000, 100_000, 60, 5
_ENDED = 0.005
_WORKSPACES, _USERS, _PRICE_PER_NODE_HOUR = 20, 300, 2.0
_SIZES = (Size(6, 56 * _GIB, 1), Size(12, 112 * _GIB, 2), Size(24, 224 * _GIB, 4))


def measure() -> list[Figure]:
    """Seconds a cycle by the clock and of one core, and this process's memory in MiB.

    The memory is the largest that it was, beside that before there was a snapshot.
    """
    before_mib = _memory_mib()
    snapshot = _in_use(_empty())
    lasts = _lasts(snapshot)
    times, floors = [], []
    for _ in range(_REPETITIONS):
        floors.append(
            _took(
                lambda: sorted(
                    snapshot.queue,
                    key=lambda gang: (-gang.priority, -gang.queued_seconds, gang.run_id),
                )
            )
        )
        times.append(_took(lambda: forecast(snapshot, plan(snapshot).waiting, lasts)))
    names = ("planner_cycle", "planner_cycle_of_a_core")
    return [
        *(
            over_floor(name, value=median(values), unit="s", floor=median(least))
            for name, values, least in zip(
                names, zip(*times, strict=True), zip(*floors, strict=True), strict=True
            )
        ),
        over_floor("planner_memory", value=_memory_mib(), unit="MiB", floor=before_mib),
    ]


def _took(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock, and of a core: other work on the machine only lengthens the first."""
    start, start_busy = perf_counter(), process_time()
    work()
    return perf_counter() - start, process_time() - start_busy


def _empty() -> Snapshot:
    chance = random.Random(1)
    total = Size(64, 512 * _GIB, 8)
    gpus = tuple(map(str, range(8)))
    clusters = tuple(
        Cluster(f"c{i}", f"workspace-{i % _WORKSPACES}", _SIZES[i % len(_SIZES)], 0, 100_000)
        for i in range(_CLUSTERS)
    )
    queue = tuple(
        Gang(
            f"run-{number}",
            f"c{chance.randrange(_CLUSTERS)}",
            f"user-{chance.randrange(_USERS)}",
            chance.choice((1, 1, 1, 1, 2, 4, 8)),
            chance.random() * 7200,
            at_most_seconds=chance.choice((600.0, 3600.0, 36_000.0)),
        )
        for number in range(_GANGS)
    )
    hosts = tuple(Host(f"host-{number}", total, total, gpus) for number in range(_HOSTS))
    return Snapshot(hosts, clusters, queue=queue)


def _in_use(snapshot: Snapshot) -> Snapshot:
    """The pool after it has been filled and some of what runs has ended."""
    chance = random.Random(2)
    nodes, running = [], []
    gangs = {gang.run_id: gang for gang in snapshot.queue}
    decision = plan(snapshot)
    for run_id, placement in decision.placed.items():
        if chance.random() < _ENDED:
            continue
        gang = gangs[run_id]
        ends = chance.random() * gang.at_most_seconds
        running.append(Running(run_id, gang.cluster_id, gang.user_id, ends_in_seconds=ends))
        for index, place in enumerate(placement.new):
            name = f"{run_id}/{index}"
            nodes.append(
                Node(name, gang.cluster_id, place.host, index, place.size, place.gpu_ids, run_id)
            )
    waiting = tuple(gang for gang in snapshot.queue if gang.run_id not in decision.placed)
    again = tuple(
        gang._replace(run_id=f"{gang.run_id}-again")
        for gang in snapshot.queue
        if gang.run_id in decision.placed
    )
    queue = (*waiting, *again)
    return Snapshot(
        snapshot.hosts,
        snapshot.clusters,
        tuple(nodes),
        tuple(running),
        tuple(gang._replace(cost=_most(gang)) for gang in queue),
        # One workspace has used up its quota, one its budget; all others come near neither.
        workspace_limits={
            f"workspace-{number}": Limits(runs=1e6 if number else 1.0, cores=1e6)
            for number in range(_WORKSPACES)
        },
        user_limits={f"user-{number}": Limits(gpus=1e6) for number in range(_USERS)},
        workspace_budgets={
            f"workspace-{number}": 1e6 if number != 1 else 0.0 for number in range(_WORKSPACES)
        },
        workspace_usage={f"workspace-{number}": 1e6 * number for number in range(_WORKSPACES)},
        user_usage={f"user-{number}": 1e5 * number for number in range(_USERS)},
    )


def _most(gang: Gang) -> float:
    return _PRICE_PER_NODE_HOUR * gang.node_count * gang.at_most_seconds / 3600


def _lasts(snapshot: Snapshot) -> dict[str, Lasts]:
    """Everything may take half as long as its limit."""
    running = {
        run.run_id: Lasts(run.ends_in_seconds / 2, run.ends_in_seconds) for run in snapshot.running
    }
    return running | {
        gang.run_id: Lasts(gang.at_most_seconds / 2, gang.at_most_seconds)
        for gang in snapshot.queue
    }


def _memory_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
