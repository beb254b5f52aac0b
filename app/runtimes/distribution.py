"""How the processes of a run on several nodes work together, as a tagged choice."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter

from app.kernel.numbers import number_only

Count = Annotated[int, Field(ge=1, le=1000), BeforeValidator(number_only)]


class _Tagged(BaseModel):
    model_config = ConfigDict(extra="forbid")


class ParameterServer(_Tagged):
    """TensorFlow's parameter servers and workers, told by ``TF_CONFIG``."""

    type: Literal["parameter_server"]
    worker_count: Count = 1
    parameter_server_count: Count = 1
    chief: bool = Field(
        default=False,
        description="A coordinator besides the workers, as ParameterServerStrategy wants it: "
        "when it has ended, workers and parameter servers are ended",
    )
    evaluator: bool = Field(default=False, description="One more process, outside the cluster")


class MultiWorker(_Tagged):
    """TensorFlow's workers that reduce among themselves, told by ``TF_CONFIG``."""

    type: Literal["multi_worker"]
    worker_count: Count | None = Field(default=None, description="Absent: one on each node")


class PyTorch(_Tagged):
    """Ranks told by ``MASTER_ADDR``, ``MASTER_PORT``, ``WORLD_SIZE`` and ``RANK``."""

    type: Literal["pytorch"]
    process_count: Count | None = Field(
        default=None, description="On all nodes together; absent: process_count_per_node on each"
    )


class Mpi(_Tagged):
    """Ranks that find each other by MPI, as Horovod's do; started by ``mpirun``."""

    type: Literal["mpi"]
    controller: Literal["mpi", "gloo"] = Field(
        default="mpi",
        description="gloo: Horovod's ranks find each other without MPI, and mpirun plays no part",
    )
    process_count_per_node: Count | None = Field(
        default=None, description="Absent: the run's own process_count_per_node"
    )


Distribution = Annotated[ParameterServer | MultiWorker | PyTorch | Mpi, Field(discriminator="type")]
_ADAPTER: TypeAdapter[ParameterServer | MultiWorker | PyTorch | Mpi] = TypeAdapter(Distribution)


def parse(data: dict[str, Any] | None) -> Distribution | None:
    """The distribution of an accepted request; None when it has none."""
    return None if data is None else _ADAPTER.validate_python(data)
