"""What is true of ``TF_CONFIG`` and the variables of ranks, whatever the counts are."""

import json
from collections import Counter
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from app.runtimes.distribution import Distribution, parse
from app.runtimes.launch import Host, environments
from app.runtimes.tasks import CountsRefused, Task, on_node, plan_tasks, port_count

COUNTS = st.integers(min_value=1, max_value=6)
PARAMETER_SERVER = st.fixed_dictionaries(
    {
        "type": st.just("parameter_server"),
        "worker_count": COUNTS,
        "parameter_server_count": COUNTS,
        "chief": st.booleans(),
        "evaluator": st.booleans(),
    }
)
MULTI_WORKER = st.fixed_dictionaries(
    {"type": st.just("multi_worker")}, optional={"worker_count": COUNTS}
)
Told = list[tuple[Task, dict[str, str]]]


def told_by(distribution: dict[str, Any], node_count: int) -> Told | None:
    """Every process with its environment, on hosts h0, h1, …; None: the counts are refused."""
    parsed: Distribution | None = parse(distribution)
    try:
        tasks = plan_tasks(parsed, node_count=node_count)
    except CountsRefused:
        return None
    # All nodes have the same ports: where each has an address of its own, nothing collides.
    hosts = [
        Host(f"h{index}", [2222 + place for place in range(port_count(parsed, tasks, index))])
        for index in range(node_count)
    ]
    told: Told = []
    for index in range(node_count):
        own = environments(parsed, tasks, hosts, node_index=index)
        told += zip(on_node(tasks, index), own, strict=True)
    return told


def expected_roles(distribution: dict[str, Any], node_count: int) -> Counter[str]:
    if distribution["type"] == "multi_worker":
        return Counter(worker=distribution.get("worker_count", node_count))
    counts = Counter(worker=distribution["worker_count"], ps=distribution["parameter_server_count"])
    if distribution["chief"]:
        counts["chief"] = 1
    if distribution["evaluator"]:
        counts["evaluator"] = 1
    return counts


@given(st.one_of(PARAMETER_SERVER, MULTI_WORKER), st.integers(min_value=1, max_value=8))
def test_all_are_told_of_the_same_cluster_and_each_of_its_own_place(
    distribution: dict[str, Any], node_count: int
) -> None:
    roles = expected_roles(distribution, node_count)
    told = told_by(distribution, node_count)
    assert (told is None) == (roles.total() < node_count)
    if told is None:
        return
    configs = [(task, json.loads(environment["TF_CONFIG"])) for task, environment in told]
    clusters = [config["cluster"] for _, config in configs]
    assert all(set(config) == {"cluster", "task", "environment"} for _, config in configs)
    assert {config["environment"] for _, config in configs} == {"cloud"}
    assert all(cluster == clusters[0] for cluster in clusters)
    # No role is empty, and the evaluator is outside the cluster.
    in_cluster = {role: count for role, count in roles.items() if role != "evaluator"}
    assert {role: len(places) for role, places in clusters[0].items()} == in_cluster
    own = [(config["task"]["type"], config["task"]["index"]) for _, config in configs]
    assert sorted(own) == sorted((role, n) for role in roles for n in range(roles[role]))
    for task, config in configs:
        if task.role != "evaluator":
            assert clusters[0][task.role][task.index].startswith(f"h{task.node_index}:")
        assert config["task"] == {"type": task.role, "index": task.index}


@given(st.one_of(PARAMETER_SERVER, MULTI_WORKER), st.integers(min_value=1, max_value=8))
def test_no_two_processes_share_a_port_a_rank_or_a_stream(
    distribution: dict[str, Any], node_count: int
) -> None:
    told = told_by(distribution, node_count)
    if told is None:
        return
    cluster = json.loads(told[0][1]["TF_CONFIG"])["cluster"]
    places = [place for found in cluster.values() for place in found]
    assert len(set(places)) == len(places)
    assert sorted(task.rank for task, _ in told) == list(range(len(told)))
    assert len({task.stream for task, _ in told}) == len(told)
    # Processes are dealt out evenly: no node has two more than another, and rank 0 is on node 0.
    per_node = Counter(task.node_index for task, _ in told)
    assert max(per_node.values()) - min(per_node.values()) <= 1
    assert next(task.node_index for task, _ in told if task.rank == 0) == 0


@given(COUNTS, COUNTS)
def test_ranks_have_all_that_rendezvous_by_environment_reads(nodes: int, per_node: int) -> None:
    parsed = parse({"type": "pytorch"})
    tasks = plan_tasks(parsed, node_count=nodes, process_count_per_node=per_node)
    hosts = [Host(f"h{i}", [6105][: port_count(parsed, tasks, i)]) for i in range(nodes)]
    for index in range(nodes):
        for local, told in enumerate(environments(parsed, tasks, hosts, node_index=index)):
            assert (told["MASTER_ADDR"], told["MASTER_PORT"]) == ("h0", "6105")
            assert told["WORLD_SIZE"] == str(nodes * per_node)
            assert told["LOCAL_WORLD_SIZE"] == str(per_node)
            assert (told["NODE_RANK"], told["LOCAL_RANK"]) == (str(index), str(local))
            assert told["RANK"] == str(index * per_node + local)
