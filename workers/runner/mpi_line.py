"""The command lines and variables of Open MPI (4 and its successors of the same options)."""

from __future__ import annotations

import os
import shlex
from typing import Any, NamedTuple

from workers.runner.errors import PrepareError
from workers.runner.interfaces import interface_name

AGENT = "trainwright-agent"
STARTUP_SECONDS = 300
_FORWARDED = ("OMPI_", "PMIX_", "ORTE_", "OPAL_")
# They describe the program that stands in for the rank until the rank's end.
_NOT_FORWARDED = frozenset({"OMPI_ARGV", "OMPI_COMMAND", "OMPI_NUM_APP_CTX", "OMPI_FILE_LOCATION"})


class LaunchHost(NamedTuple):
    """A node of the attempt.

    Attributes:
        address: an IP address that the other nodes reach.
        port: where its runner takes calls; 0 when it takes none.
        slots: how many ranks run there.
    """

    address: str
    port: int
    slots: int


def launch_hosts(data: list[dict[str, Any]]) -> list[LaunchHost]:
    """Return the nodes, by index, out of the answer that says to start."""
    return [
        LaunchHost(str(item["address"]), int(item.get("port") or 0), int(item["slots"]))
        for item in data
    ]


def rank_places(hosts: list[LaunchHost]) -> list[tuple[str, int]]:
    """Return where the runner of each rank takes calls, by rank: node after node."""
    return [(host.address, host.port) for host in hosts for _ in range(host.slots)]


def mpirun_argv(hosts: list[LaunchHost], stand_in: list[str], *, rank_file: str) -> list[str]:
    """Return the line that starts all ranks, node after node.

    Nodes may have one address, when they are on one machine that has no other. To Open MPI they
    are one then, and it has to be told rank by rank where each one is.

    Nothing is bound to a core: which cores a node has is its container's business. The agent is
    found by name on the PATH, because Open MPI would split a path at its blanks. The daemons of
    all nodes are started from here, and take their own node's variables, not this node's.

    Args:
        hosts: all nodes, by index.
        stand_in: the command that mpirun starts for each rank.
        rank_file: has the text of :func:`rank_lines`.
    """
    places = ["--host", ",".join(f"{host.address}:{host.slots}" for host in hosts)]
    mapping = "slot"
    if len({host.address for host in hosts}) < len(hosts):
        places, mapping = ["--hostfile", rank_file], "seq"
    settings = {
        "plm": "rsh",
        "plm_rsh_agent": AGENT,
        "plm_rsh_no_tree_spawn": "1",
        "plm_rsh_pass_environ_mca_params": "0",
        "orte_startup_timeout": str(STARTUP_SECONDS),
    }
    options = [word for name, value in settings.items() for word in ("--mca", name, value)]
    return [
        "mpirun", "--allow-run-as-root", "--leave-session-attached",
        "-bind-to", "none", "-map-by", mapping,
        *places, "-np", str(sum(host.slots for host in hosts)),
        *options, *stand_in,
    ]  # fmt: skip


def daemon_argv(command: str) -> list[str]:
    """Return the command line of a node's daemon out of what mpirun gave to its agent.

    Whatever else a remote shell would have done, such as setting paths, is left out: the daemon
    is the one that this node finds, and nothing but the daemon can be asked for.

    Raises:
        ValueError: it does not start the daemon.
    """
    words = shlex.split(command)
    for place, word in enumerate(words):
        if os.path.basename(word) == "orted":
            return ["orted", *words[place + 1 :]]
    raise ValueError("only Open MPI's daemon can be started")


def node_variables(
    address: str, given: dict[str, str], *, folder: str, is_alone: bool
) -> dict[str, str]:
    """Variables that fit Open MPI to one node; those that the user has given stay.

    It is kept to the interface by which the other nodes reach this one: it would try all, and
    hang where one leads nowhere, e.g. the gateway network of a container.

    Args:
        address: of this node.
        given: the process's environment.
        folder: of this node's own.
        is_alone: whether the run has no other node.
    """
    is_shared = address.startswith("127.")
    # Where its name is not known, by its network; one of 32 bits is the whole world to Open MPI 4.
    interface = interface_name(address)
    variables = dict.fromkeys(
        ("OMPI_MCA_btl_tcp_if_include", "OMPI_MCA_oob_tcp_if_include"),
        interface or f"{address}/31",
    )
    if interface is not None:
        variables["NCCL_SOCKET_IFNAME"] = interface
    if is_shared and not is_alone:
        # Its files in shared memory are named after the machine and the local rank: those of
        # nodes that share the machine would be the same.
        variables["OMPI_MCA_btl_vader_backing_directory"] = folder
    if not is_shared:
        # Copying straight from another process's memory is forbidden inside a container.
        variables["OMPI_MCA_btl_vader_single_copy_mechanism"] = "none"
    return {name: given.get(name, value) for name, value in variables.items()}


def rank_variables(environ: dict[str, str]) -> dict[str, str]:
    """Variables by which Open MPI tells a rank who it is, out of those of its stand-in."""
    return {
        name: value
        for name, value in environ.items()
        if name.startswith(_FORWARDED) and name not in _NOT_FORWARDED
    }


def host_file(hosts: list[LaunchHost]) -> str:
    """Text of a file that names all nodes, as scripts of Batch AI expect one."""
    return "".join(f"{host.address} slots={host.slots}\n" for host in hosts)


def rank_lines(hosts: list[LaunchHost], *, first_name: str) -> str:
    """Text of a file with the place of each rank on a line.

    Args:
        hosts: all nodes, by index.
        first_name: host name of node 0, by which alone mpirun knows its own machine here.
    """
    first = hosts[0].address
    places = (first_name if address == first else address for address, _ in rank_places(hosts))
    return "".join(f"{place}\n" for place in places)


def check_programs(names: list[str], path: str) -> None:
    """See that Open MPI is there.

    Raises:
        PrepareError: it is not.
    """
    for name in names:
        if not any(os.access(os.path.join(part, name), os.X_OK) for part in path.split(os.pathsep)):
            message = (
                f"this node has no {name}; Open MPI is the package openmpi-bin on Debian and "
                "Ubuntu: install it on the machine, or name it in the environment"
            )
            raise PrepareError("mpi_missing", message)
