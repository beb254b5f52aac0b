"""What each process of a run is told about the others, by its environment."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from app.runtimes.distribution import Distribution, Mpi, MultiWorker, ParameterServer, PyTorch
from app.runtimes.tasks import Task, on_node

_GLOO_SECONDS = 300  # until the slowest rank has imported what it needs
_MASTER_PORT = 6000  # what Batch put there; nothing listens on it


@dataclass(frozen=True)
class Host:
    """Where a node is.

    Attributes:
        address: an IP address that the other nodes reach.
        ports: ports that it keeps free for its processes.
    """

    address: str
    ports: Sequence[int] = ()


def environments(
    distribution: Distribution | None,
    tasks: Sequence[Task],
    hosts: Sequence[Host],
    *,
    node_index: int,
) -> list[dict[str, str]]:
    """The variables of each process of one node, in the order of its processes.

    Args:
        distribution: how the processes work together.
        tasks: all processes of the run.
        hosts: all nodes, by index.
        node_index: the node.
    """
    own = on_node(tasks, node_index)
    places = _places(tasks, hosts)
    common = _batch(tasks, hosts, places, node_index)
    if isinstance(distribution, PyTorch):
        return [common | _torch(task, tasks, hosts, local) for local, task in enumerate(own)]
    if isinstance(distribution, Mpi) and distribution.controller == "gloo":
        return [common | _horovod(task, tasks, hosts, local) for local, task in enumerate(own)]
    if isinstance(distribution, ParameterServer | MultiWorker):
        return [common | {"TF_CONFIG": tf_config(task, tasks, places)} for task in own]
    return [dict(common) for _ in own]


def launch_hosts(tasks: Sequence[Task], hosts: Sequence[Host]) -> list[dict[str, Any]]:
    """The nodes as a launcher of ranks is told of them, by index."""
    return [
        {
            "address": host.address,
            "port": next(iter(host.ports), 0),
            "slots": len(on_node(tasks, index)),
        }
        for index, host in enumerate(hosts)
    ]


def tf_config(task: Task, tasks: Sequence[Task], places: dict[int, str]) -> str:
    """``TF_CONFIG`` of one process.

    A role without processes is left out: TensorFlow crashes on an empty one.

    Args:
        task: the process.
        tasks: all processes.
        places: rank → ``host:port`` of those that listen.
    """
    cluster: dict[str, list[str]] = {}
    for role in ("chief", "ps", "worker"):
        if found := [places[t.rank] for t in tasks if t.role == role]:
            cluster[role] = found
    own = {"type": task.role, "index": task.index}
    return json.dumps({"cluster": cluster, "task": own, "environment": "cloud"})


def _places(tasks: Sequence[Task], hosts: Sequence[Host]) -> dict[int, str]:
    places = {}
    for index, host in enumerate(hosts):
        members = [task for task in on_node(tasks, index) if task.is_member]
        for task, port in zip(members, host.ports, strict=True) if members else ():
            places[task.rank] = f"{host.address}:{port}"
    return places


def _torch(
    task: Task, tasks: Sequence[Task], hosts: Sequence[Host], local_rank: int
) -> dict[str, str]:
    return {
        "MASTER_ADDR": hosts[0].address,
        "MASTER_PORT": str(hosts[0].ports[0]),
        "WORLD_SIZE": str(len(tasks)),
        "LOCAL_WORLD_SIZE": str(len(on_node(tasks, task.node_index))),
        "NODE_RANK": str(task.node_index),
        "RANK": str(task.rank),
        "LOCAL_RANK": str(local_rank),
    }


def _horovod(
    task: Task, tasks: Sequence[Task], hosts: Sequence[Host], local_rank: int
) -> dict[str, str]:
    """What Horovod's own launcher tells a rank that is to use Gloo."""
    # "Across" the nodes, those ranks are one group that have the same number on theirs.
    crossed = [i for i in range(len(hosts)) if len(on_node(tasks, i)) > local_rank]
    return {
        "HOROVOD_CONTROLLER": "gloo",
        "HOROVOD_CPU_OPERATIONS": "gloo",
        "HOROVOD_GLOO_RENDEZVOUS_ADDR": hosts[0].address,
        "HOROVOD_GLOO_RENDEZVOUS_PORT": str(hosts[0].ports[0]),
        "HOROVOD_GLOO_TIMEOUT_SECONDS": str(_GLOO_SECONDS),
        "HOROVOD_HOSTNAME": hosts[task.node_index].address,
        "HOROVOD_RANK": str(task.rank),
        "HOROVOD_SIZE": str(len(tasks)),
        "HOROVOD_LOCAL_RANK": str(local_rank),
        "HOROVOD_LOCAL_SIZE": str(len(on_node(tasks, task.node_index))),
        "HOROVOD_CROSS_RANK": str(crossed.index(task.node_index)),
        "HOROVOD_CROSS_SIZE": str(len(crossed)),
    }


def _batch(
    tasks: Sequence[Task], hosts: Sequence[Host], places: dict[int, str], node_index: int
) -> dict[str, str]:
    """The variables that Batch and Batch AI gave every process (contract, 2.5)."""
    addresses = [host.address for host in hosts]
    counts = [len(on_node(tasks, index)) for index in range(len(hosts))]
    nodes = (f"{host.address} {count}" for host, count in zip(hosts, counts, strict=True))
    variables = {
        "AZ_BATCH_HOST_LIST": ",".join(addresses),
        "AZ_BATCH_NODE_LIST": ";".join(addresses),
        "AZ_BATCH_MASTER_NODE": f"{addresses[0]}:{_MASTER_PORT}",
        "AZ_BATCH_IS_CURRENT_NODE_MASTER": "true" if node_index == 0 else "false",
        "AZ_BATCHAI_MPI_MASTER_NODE": addresses[0],
        "AZ_BATCHAI_JOB_MASTER_NODE_IP": addresses[0],
        "AZ_BATCHAI_TASK_INDEX": str(node_index),
        "CCP_NODES": " ".join([str(len(hosts)), *nodes]),
    }
    for role, name in (("ps", "AZ_BATCHAI_PS_HOSTS"), ("worker", "AZ_BATCHAI_WORKER_HOSTS")):
        if found := [places[t.rank] for t in tasks if t.role == role and t.rank in places]:
            variables[name] = ",".join(found)
    return variables
