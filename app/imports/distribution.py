"""Several nodes and processes, as Azure's documents ask for them."""

from typing import Literal

from pydantic import Field

from app.imports.translation import Sent, Translation, below

_MPI = frozenset({"mpi", "intelmpi", "openmpi"})
_PYTORCH = frozenset({"nccl", "gloo"})


class ParameterServers(Sent):
    """TensorFlow's own distribution in v1."""

    worker_count: int = 1
    parameter_server_count: int = 1


class Mpi(Sent):
    """Ranks that mpirun starts, in v1."""

    process_count_per_node: int = 1


class PyTorch(Sent):
    """Processes that find each other by PyTorch's variables, in v1."""

    process_count: int | None = None


class Parallel(Sent):
    """What a v1 configuration says of several nodes; only what the communicator names counts."""

    communicator: str | None = None
    node_count: int = 1
    tensorflow: ParameterServers = Field(default_factory=ParameterServers)
    mpi: Mpi = Field(default_factory=Mpi)
    pytorch: PyTorch = Field(default_factory=PyTorch)

    def uses_mpi(self) -> bool:
        """Whether mpirun starts the processes."""
        return (self.communicator or "").lower() in _MPI


class JobDistribution(Sent):
    """What a v2 job says of several processes."""

    distribution_type: Literal["TensorFlow", "Mpi", "PyTorch"]
    parameter_server_count: int | None = None
    worker_count: int | None = None
    process_count_per_instance: int | None = None


def distribution_of_v1(sent: Parallel, pointer: str, into: Translation) -> None:
    """Write nodes and processes of a v1 configuration into the run."""
    into.put("node_count", sent.node_count, below(pointer, "nodeCount"))
    where = below(pointer, "communicator")
    kind = (sent.communicator or "None").lower()
    if kind == "none":
        return
    if kind == "parameterserver":
        at = below(pointer, "tensorflow")
        workers, servers = sent.tensorflow.worker_count, sent.tensorflow.parameter_server_count
        _put_tensorflow(workers, servers, where, at, into)
    elif sent.uses_mpi():
        count = sent.mpi.process_count_per_node
        into.put("distribution", {"type": "mpi", "process_count_per_node": count}, where)
        into.origins["/distribution/process_count_per_node"] = below(
            pointer, "mpi", "processCountPerNode"
        )
    elif kind in _PYTORCH:
        into.put(
            "distribution", {"type": "pytorch", "process_count": sent.pytorch.process_count}, where
        )
        into.origins["/distribution/process_count"] = below(pointer, "pytorch", "processCount")
    else:
        message = f"The communicator {sent.communicator!r} has no counterpart here."
        into.refuse(where, "distribution_unsupported", message)


def distribution_of_v2(sent: JobDistribution, nodes: int, pointer: str, into: Translation) -> None:
    """Write the distribution of a v2 job into the run.

    Args:
        sent: what the job says.
        nodes: how many machines it gets.
        pointer: where the distribution is in the document.
        into: the translation that is being made.
    """
    into.sort_out(sent, pointer, ignored=frozenset())
    if sent.distribution_type == "TensorFlow":
        workers = sent.worker_count if sent.worker_count is not None else nodes
        _put_tensorflow(workers, sent.parameter_server_count or 0, pointer, pointer, into)
        return
    per_node = sent.process_count_per_instance or 1
    origin = below(pointer, "processCountPerInstance")
    if sent.distribution_type == "Mpi":
        into.put("distribution", {"type": "mpi", "process_count_per_node": per_node}, pointer)
        into.origins["/distribution/process_count_per_node"] = origin
    else:
        into.put("distribution", {"type": "pytorch"}, pointer)
        into.put("process_count_per_node", per_node, origin)


def _put_tensorflow(
    workers: int, servers: int, pointer: str, counts: str, into: Translation
) -> None:
    # Without parameter servers the workers reduce among themselves; TensorFlow knows no empty role.
    choice: dict[str, str | int] = {"type": "multi_worker", "worker_count": workers}
    if servers:
        choice |= {"type": "parameter_server", "parameter_server_count": servers}
    into.put("distribution", choice, pointer)
    into.origins["/distribution/worker_count"] = below(counts, "workerCount")
    into.origins["/distribution/parameter_server_count"] = below(counts, "parameterServerCount")
