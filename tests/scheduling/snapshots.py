"""Snapshots for tests of the planner: drawn at random, and made by hand."""

from collections import Counter
from dataclasses import replace
from math import inf

from hypothesis import strategies as st

from app.scheduling.planner import plan
from app.scheduling.types import (
    Cluster,
    Gang,
    Host,
    Limits,
    Node,
    Plan,
    Running,
    Size,
    Snapshot,
)

GIB = 1024**3
SMALL = Size(1.0, 2 * GIB)
LARGE = Size(4.0, 8 * GIB)
GPU = Size(6.0, 16 * GIB, 1)


def host(name: str = "h", *, cores: float = 4.0, memory_gib: int = 64, gpus: int = 0) -> Host:
    """A host that gives any node all that it has."""
    total = Size(cores, memory_gib * GIB, gpus)
    return Host(name, total, total, tuple(str(number) for number in range(gpus)))


def cluster(name: str = "c", *, size: Size = SMALL, max_nodes: int = 4, **more: object) -> Cluster:
    """A cluster of small nodes."""
    return replace(Cluster(name, f"workspace of {name}", size, 0, max_nodes), **more)  # type: ignore[arg-type]


def gang(name: str, nodes: int = 1, *, waited: float = 0.0, **more: object) -> Gang:
    """A gang of one user."""
    return Gang(name, "c", "u", nodes, waited)._replace(**more)  # type: ignore[arg-type]


def busy(
    run: str, count: int = 1, *, on: str = "c", at: str = "h", size: Size = SMALL
) -> tuple[Node, ...]:
    """Nodes that a run has."""
    return tuple(Node(f"{run}-{i}", on, at, i, size, run_id=run) for i in range(count))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    """Hosts, clusters, what runs and what waits; never over capacity to begin with."""
    hosts = tuple(
        replace(
            host(f"h{i}", cores=draw(st.integers(1, 8)), gpus=draw(st.integers(0, 2))),
            takes_work=draw(st.integers(0, 9)) > 0,
        )
        for i in range(draw(st.integers(1, 4)))
    )
    clusters = tuple(draw(_clusters(f"c{i}")) for i in range(draw(st.integers(1, 3))))
    nodes, running = draw(_running(hosts, clusters))
    names = [item.id for item in clusters]
    queue = tuple(
        Gang(
            run_id=f"q{i}",
            cluster_id=draw(st.sampled_from(names)),
            user_id=draw(st.sampled_from("uv")),
            node_count=draw(st.integers(1, 5)),
            queued_seconds=draw(st.sampled_from((0.0, 30.0, 700.0, 7200.0))),
            priority=draw(st.sampled_from((10, 50, 90))),
            at_most_seconds=draw(st.sampled_from((60.0, 600.0, inf))),
            cost=draw(st.sampled_from((0.0, 1.0, 5.0))),
        )
        for i in range(draw(st.integers(0, 8)))
    )
    limits = st.builds(
        Limits, runs=st.sampled_from((1.0, 3.0, inf)), cores=st.sampled_from((4.0, inf))
    )
    owners = sorted({item.workspace_id for item in clusters})
    return Snapshot(
        hosts=hosts,
        clusters=clusters,
        nodes=nodes,
        running=running,
        queue=queue,
        workspace_limits=draw(st.dictionaries(st.sampled_from(owners), limits)),
        user_limits=draw(st.dictionaries(st.sampled_from("uv"), limits)),
        workspace_budgets=draw(st.dictionaries(st.sampled_from(owners), st.floats(-1, 12))),
        workspace_usage=draw(st.dictionaries(st.sampled_from(owners), st.floats(0, 1e6))),
        user_usage=draw(st.dictionaries(st.sampled_from("uv"), st.floats(0, 1e6))),
    )


@st.composite
def _clusters(draw: st.DrawFn, name: str) -> Cluster:
    max_nodes = draw(st.integers(1, 6))
    return Cluster(
        id=name,
        workspace_id=draw(st.sampled_from(("w1", "w2"))),
        node_size=draw(st.sampled_from((SMALL, LARGE, GPU))),
        min_nodes=draw(st.integers(0, max_nodes)),
        max_nodes=max_nodes,
        is_low_priority=draw(st.booleans()),
        is_enabled=draw(st.integers(0, 9)) > 0,
        packs=draw(st.booleans()),
    )


@st.composite
def _running(
    draw: st.DrawFn, hosts: tuple[Host, ...], clusters: tuple[Cluster, ...]
) -> tuple[tuple[Node, ...], tuple[Running, ...]]:
    # What the planner itself would have placed: a state that can really be.
    wanted = tuple(
        Gang(
            f"r{i}",
            draw(st.sampled_from(clusters)).id,
            draw(st.sampled_from("uv")),
            draw(st.integers(1, 3)),
            0.0,
        )
        for i in range(draw(st.integers(0, 5)))
    )
    usual = tuple(replace(c, is_enabled=True, min_nodes=0) for c in clusters)
    from_planner = plan(
        Snapshot(tuple(replace(h, takes_work=True) for h in hosts), usual, queue=wanted)
    )
    nodes: list[Node] = []
    running = []
    counts: Counter[str] = Counter()
    for item in wanted:
        placement = from_planner.placed.get(item.run_id)
        if placement is None:
            continue
        is_idle = draw(st.integers(0, 3)) == 0
        for place in placement.new:
            index = counts[place.cluster_id]
            counts[place.cluster_id] += 1
            nodes.append(
                Node(
                    f"{place.cluster_id}-{index}",
                    place.cluster_id,
                    place.host,
                    index,
                    place.size,
                    place.gpu_ids,
                    "" if is_idle else item.run_id,
                    draw(st.sampled_from((0.0, 60.0, 500.0))) if is_idle else 0.0,
                    is_usable=draw(st.integers(0, 9)) > 0,
                )
            )
        if not is_idle:
            running.append(
                Running(
                    item.run_id,
                    item.cluster_id,
                    item.user_id,
                    draw(st.sampled_from((10, 50, 90))),
                    draw(st.floats(0, 1000)),
                    draw(st.sampled_from((0.0, 60.0, 600.0, inf))),
                    is_stopping=draw(st.integers(0, 5)) == 0,
                )
            )
    return tuple(nodes), tuple(running)


def after(snapshot: Snapshot, decision: Plan) -> Snapshot:
    """The pool once a plan has been carried out: what was placed runs, what was preempted stops."""
    gone = set(decision.remove_node_ids)
    owners = {
        node_id: run_id
        for run_id, placement in decision.placed.items()
        for node_id in placement.node_ids
    }
    nodes = [
        replace(node, run_id=owners.get(node.id, node.run_id))
        for node in snapshot.nodes
        if node.id not in gone
    ]
    new = [(run_id, place) for run_id, item in decision.placed.items() for place in item.new]
    new += [("", place) for place in decision.new_nodes]
    for number, (run_id, place) in enumerate(new):
        node_id = f"new-{len(snapshot.nodes)}-{number}"
        nodes.append(
            Node(
                node_id,
                place.cluster_id,
                place.host,
                100 + number,
                place.size,
                place.gpu_ids,
                run_id,
            )
        )
    started = tuple(
        Running(
            item.run_id,
            item.cluster_id,
            item.user_id,
            item.priority,
            # Without a limit it may end at any moment.
            ends_in_seconds=item.at_most_seconds if item.at_most_seconds < inf else 0.0,
        )
        for item in snapshot.queue
        if item.run_id in decision.placed
    )
    stopping = {item.run_id for item in decision.preempted}
    return replace(
        snapshot,
        nodes=tuple(nodes),
        running=tuple(
            replace(run, is_stopping=run.is_stopping or run.run_id in stopping)
            for run in snapshot.running
        )
        + started,
        queue=tuple(item for item in snapshot.queue if item.run_id not in decision.placed),
    )


def later(snapshot: Snapshot, seconds: float) -> Snapshot:
    """The pool after a time in which nothing came, and what was expected to end has ended."""
    over = {
        run.run_id for run in snapshot.running if run.is_stopping or run.ends_in_seconds <= seconds
    }
    return replace(
        snapshot,
        nodes=tuple(
            replace(node, run_id="") if node.run_id in over else node for node in snapshot.nodes
        ),
        running=tuple(
            replace(run, ends_in_seconds=run.ends_in_seconds - seconds)
            for run in snapshot.running
            if run.run_id not in over
        ),
        queue=tuple(
            item._replace(queued_seconds=item.queued_seconds + seconds) for item in snapshot.queue
        ),
    )
