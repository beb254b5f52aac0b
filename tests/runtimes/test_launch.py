"""Which processes a run has, where, and what they are told."""

import json
from typing import Any

import pytest

from app.runtimes.distribution import parse
from app.runtimes.launch import Host, environments, launch_hosts
from app.runtimes.tasks import CountsRefused, plan_tasks, port_count


def launch(
    distribution: dict[str, Any] | None, *, node_count: int, per_node: int = 1
) -> dict[tuple[str, int], dict[str, str]]:
    """Role and index → environment, on hosts h0, h1, … whose ports start at 2222."""
    parsed = parse(distribution)
    tasks = plan_tasks(parsed, node_count=node_count, process_count_per_node=per_node)
    hosts = []
    for index in range(node_count):
        count = port_count(parsed, tasks, index)
        hosts.append(Host(f"h{index}", [2222 + 10 * index + n for n in range(count)]))
    found: dict[tuple[str, int], dict[str, str]] = {}
    for index in range(node_count):
        own = [task for task in tasks if task.node_index == index]
        told = environments(parsed, tasks, hosts, node_index=index)
        found |= {(t.role, t.index): e for t, e in zip(own, told, strict=True)}
    assert len(found) == len(tasks)
    return found


def test_tf_config_has_every_role_at_its_place() -> None:
    distribution = {"type": "parameter_server", "worker_count": 3, "parameter_server_count": 2}
    told = launch(distribution, node_count=5)
    assert json.loads(told["ps", 1]["TF_CONFIG"]) == {
        "cluster": {
            "ps": ["h3:2252", "h4:2262"],
            "worker": ["h0:2222", "h1:2232", "h2:2242"],
        },
        "task": {"type": "ps", "index": 1},
        "environment": "cloud",
    }
    assert told["worker", 0]["AZ_BATCHAI_PS_HOSTS"] == "h3:2252,h4:2262"


def test_an_empty_role_is_left_out() -> None:
    told = launch({"type": "multi_worker"}, node_count=2)
    config = json.loads(told["worker", 1]["TF_CONFIG"])
    assert config["cluster"] == {"worker": ["h0:2222", "h1:2232"]}


def test_roles_share_nodes_when_there_are_more_of_them() -> None:
    distribution = {
        "type": "parameter_server",
        "worker_count": 2,
        "parameter_server_count": 1,
        "chief": True,
        "evaluator": True,
    }
    told = launch(distribution, node_count=2)
    config = json.loads(told["evaluator", 0]["TF_CONFIG"])
    places = [place for found in config["cluster"].values() for place in found]
    assert sorted(config["cluster"]) == ["chief", "ps", "worker"]
    assert len(set(places)) == 4
    assert {place.split(":")[0] for place in places} == {"h0", "h1"}


def test_only_what_ends_by_itself_is_waited_for() -> None:
    for chief, essential in ((False, {"worker"}), (True, {"chief"})):
        distribution = parse({"type": "parameter_server", "worker_count": 2, "chief": chief})
        tasks = plan_tasks(distribution, node_count=2)
        assert {task.role for task in tasks if task.is_essential} == essential


def test_ranks_of_pytorch() -> None:
    told = launch({"type": "pytorch"}, node_count=2, per_node=2)
    names = ("RANK", "LOCAL_RANK", "NODE_RANK", "WORLD_SIZE", "MASTER_ADDR")
    assert [[told["process", rank][name] for name in names] for rank in range(4)] == [
        ["0", "0", "0", "4", "h0"],
        ["1", "1", "0", "4", "h0"],
        ["2", "0", "1", "4", "h0"],
        ["3", "1", "1", "4", "h0"],
    ]


def test_without_a_distribution_the_script_runs_on_each_node() -> None:
    told = launch(None, node_count=2)
    assert told["worker", 1]["AZ_BATCH_HOST_LIST"] == "h0,h1"
    assert told["worker", 1]["CCP_NODES"] == "2 h0 1 h1 1"
    assert "TF_CONFIG" not in told["worker", 1]
    (task,) = plan_tasks(None, node_count=1)
    assert task.stream == "user_logs/std_log.txt"


@pytest.mark.parametrize(
    ("distribution", "node_count", "per_node"),
    [
        ({"type": "parameter_server"}, 3, 1),
        ({"type": "multi_worker", "worker_count": 2}, 3, 1),
        ({"type": "multi_worker"}, 2, 2),
        ({"type": "pytorch", "process_count": 3}, 2, 1),
        (None, 1, 2),
    ],
)
def test_counts_that_do_not_go_together(
    distribution: dict[str, Any] | None, node_count: int, per_node: int
) -> None:
    with pytest.raises(CountsRefused):
        plan_tasks(parse(distribution), node_count=node_count, process_count_per_node=per_node)


def test_ranks_of_mpi_fill_one_node_after_the_other() -> None:
    distribution = parse({"type": "mpi", "process_count_per_node": 2})
    tasks = plan_tasks(distribution, node_count=2)
    assert [(t.rank, t.node_index, t.stream) for t in tasks] == [
        (rank, rank // 2, f"user_logs/std_log_process_{rank}.txt") for rank in range(4)
    ]
    hosts = [Host(f"h{index}", [6205]) for index in range(2)]
    assert launch_hosts(tasks, hosts) == [
        {"address": "h0", "port": 6205, "slots": 2},
        {"address": "h1", "port": 6205, "slots": 2},
    ]
    told = environments(distribution, tasks, hosts, node_index=1)
    assert [each["CCP_NODES"] for each in told] == ["2 h0 2 h1 2"] * 2
    assert told[0]["AZ_BATCH_HOST_LIST"] == "h0,h1"
    assert [port_count(distribution, tasks, index) for index in (0, 1)] == [1, 1]


@pytest.mark.parametrize(("own", "of_run", "ranks"), [(None, 3, 6), (3, 1, 6), (None, 1, 2)])
def test_processes_per_node_are_said_once(own: int | None, of_run: int, ranks: int) -> None:
    distribution = parse({"type": "mpi", "process_count_per_node": own})
    assert len(plan_tasks(distribution, node_count=2, process_count_per_node=of_run)) == ranks


def test_ranks_that_use_gloo_are_told_all_that_horovods_launcher_tells() -> None:
    distribution = {"type": "mpi", "process_count_per_node": 2, "controller": "gloo"}
    told = launch(distribution, node_count=2)
    numbers = [
        [told["process", rank][f"HOROVOD_{name}"] for name in
         ("RANK", "SIZE", "LOCAL_RANK", "LOCAL_SIZE", "CROSS_RANK", "CROSS_SIZE", "HOSTNAME")]
        for rank in range(4)
    ]  # fmt: skip
    assert numbers == [
        ["0", "4", "0", "2", "0", "2", "h0"],
        ["1", "4", "1", "2", "0", "2", "h0"],
        ["2", "4", "0", "2", "1", "2", "h1"],
        ["3", "4", "1", "2", "1", "2", "h1"],
    ]
    for environment in told.values():
        assert environment["HOROVOD_GLOO_RENDEZVOUS_ADDR"] == "h0"
        assert environment["HOROVOD_GLOO_RENDEZVOUS_PORT"] == "2222"
        assert environment["HOROVOD_CONTROLLER"] == "gloo"
        assert not any(name.startswith("OMPI_") for name in environment)
