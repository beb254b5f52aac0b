"""Replays a workload through the real planner in virtual time."""

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import count

from app.scheduling.planner import plan
from app.scheduling.types import (
    Cluster,
    Gang,
    Host,
    Limits,
    Node,
    Plan,
    Policy,
    Running,
    Size,
    Snapshot,
)
from app.simulation.trace import Job

_GIB = 1024**3
_CORES_A_GPU = 8.0
_MEMORY_A_GPU = 64 * _GIB
# What was used counts half after a day.
_HALF_LIFE_SECONDS = 86_400.0


@dataclass(frozen=True)
class Pool:
    """What the workload runs on.

    Attributes:
        host_gpus: GPUs of each host.
        workspace_limits: quotas of workspaces.
        policy: how the queue is ordered.
        cycle_seconds: the planner is asked at most so often, in virtual time.
        packs: nodes are put on as few hosts as can be.
    """

    host_gpus: tuple[int, ...]
    workspace_limits: Mapping[str, Limits] = field(default_factory=dict)
    policy: Policy = field(default_factory=Policy)
    cycle_seconds: float = 0.0
    packs: bool = True

    @property
    def gpus(self) -> int:
        """GPUs of all hosts."""
        return sum(self.host_gpus)

    def holds(self, job: Job) -> bool:
        """Whether it could ever start: a node is on one host, and all hosts have room for all."""
        per_node = max(1, job.gpus_per_node)
        return job.node_count <= sum(gpus // per_node for gpus in self.host_gpus)


def replay(
    jobs: Sequence[Job], pool: Pool, *, on_progress: Callable[[int], None] = lambda done: None
) -> dict[str, float]:
    """When each job starts; jobs that the pool can never hold are left out.

    Args:
        jobs: by arrival.
        pool: what they run on.
        on_progress: is told how many have ended.

    Returns:
        Start in seconds by job.
    """
    held = [job for job in jobs if pool.holds(job)]
    world = _World(pool, held)
    events = [(job.arrives_seconds, number, job) for number, job in enumerate(held)]
    heapq.heapify(events)
    number = count(len(events))
    planned_at = float("-inf")
    while events:
        now = max(events[0][0], planned_at + pool.cycle_seconds)
        while events and events[0][0] <= now:
            _, _, job = heapq.heappop(events)
            if job.job_id in world.running:
                world.end(job, now)
                on_progress(len(world.starts) - len(world.running))
            else:
                world.waiting[job.job_id] = job
        planned_at = now
        for job in world.step(now):
            heapq.heappush(events, (now + job.duration_seconds, next(number), job))
    return world.starts


class _World:
    def __init__(self, pool: Pool, jobs: Sequence[Job]) -> None:
        self._pool = pool
        self._hosts = tuple(_host(number, gpus) for number, gpus in enumerate(pool.host_gpus))
        kinds = sorted({(job.workspace, job.gpus_per_node) for job in jobs})
        self._clusters = {kind: _cluster(kind, pool.packs) for kind in kinds}
        self._nodes: dict[str, list[Node]] = {}
        self._usage: dict[str, float] = {}
        self._user_usage: dict[str, float] = {}
        self._used_at = 0.0
        self.waiting: dict[str, Job] = {}
        self.running: dict[str, Job] = {}
        self.starts: dict[str, float] = {}

    def step(self, now: float) -> list[Job]:
        """Plan once; says what started."""
        self._age_usage(now)
        decision = plan(self._snapshot(now))
        return [self._start(run_id, decision, now) for run_id in decision.placed]

    def end(self, job: Job, now: float) -> None:
        """A job has ended: its nodes are gone, and its use is on the account."""
        del self.running[job.job_id], self._nodes[job.job_id]
        used = job.width * _CORES_A_GPU * (now - self.starts[job.job_id])
        self._usage[job.workspace] = self._usage.get(job.workspace, 0.0) + used
        self._user_usage[job.user] = self._user_usage.get(job.user, 0.0) + used

    def _start(self, run_id: str, decision: Plan, now: float) -> Job:
        job = self.waiting.pop(run_id)
        self._nodes[run_id] = [
            Node(f"{run_id}/{i}", new.cluster_id, new.host, i, new.size, new.gpu_ids, run_id)
            for i, new in enumerate(decision.placed[run_id].new)
        ]
        self.running[run_id] = job
        self.starts[run_id] = now
        return job

    def _age_usage(self, now: float) -> None:
        factor = 0.5 ** ((now - self._used_at) / _HALF_LIFE_SECONDS)
        self._usage = {name: value * factor for name, value in self._usage.items()}
        self._user_usage = {name: value * factor for name, value in self._user_usage.items()}
        self._used_at = now

    def _snapshot(self, now: float) -> Snapshot:
        return Snapshot(
            hosts=self._hosts,
            clusters=tuple(self._clusters.values()),
            nodes=tuple(node for nodes in self._nodes.values() for node in nodes),
            running=tuple(
                Running(
                    job.job_id,
                    self._clusters[job.workspace, job.gpus_per_node].id,
                    job.user,
                    job.priority,
                    now - self.starts[job.job_id],
                    max(0.0, self.starts[job.job_id] + job.limit_seconds - now),
                )
                for job in self.running.values()
            ),
            queue=tuple(
                Gang(
                    job.job_id,
                    self._clusters[job.workspace, job.gpus_per_node].id,
                    job.user,
                    job.node_count,
                    now - job.arrives_seconds,
                    job.priority,
                    job.limit_seconds,
                )
                for job in self.waiting.values()
            ),
            workspace_limits=self._pool.workspace_limits,
            workspace_usage=self._usage,
            user_usage=self._user_usage,
            policy=self._pool.policy,
        )


def _host(number: int, gpus: int) -> Host:
    total = Size(gpus * _CORES_A_GPU, gpus * _MEMORY_A_GPU, gpus)
    return Host(f"host-{number:05}", total, total, tuple(map(str, range(gpus))))


def _cluster(kind: tuple[str, int], packs: bool) -> Cluster:
    workspace, gpus = kind
    width = max(1, gpus)
    size = Size(width * _CORES_A_GPU, width * _MEMORY_A_GPU, gpus)
    # Nodes end with their run: idle ones would only hide what the planner does.
    return Cluster(f"{workspace}/{gpus}", workspace, size, 0, 1_000_000, 0.0, packs=packs)
