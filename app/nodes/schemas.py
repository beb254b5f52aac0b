"""What runners send. Unknown members are ignored: runners of other versions may be about."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, IPvAnyAddress, StringConstraints

from app.kernel.orm import MAX_INTEGER
from app.kernel.plain_text import mended
from app.metrics.schemas import YEAR_9999
from app.models.schemas import SignatureRead

MOST_HOST_VALUES = 200
Text = Annotated[str, AfterValidator(mended)]
Port = Annotated[int, Field(gt=0, lt=65536)]
Count = Annotated[int, Field(ge=-(2**31), lt=2**31)]
Moment = Annotated[float, Field(ge=0, le=YEAR_9999)]
Sha256 = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]


class Quiet(BaseModel):
    """For how many seconds nothing has been heard of a node's scripts.

    Attributes:
        processes: of what each prints; None: it has ended.
        node: of everything, metrics and log files as well.
    """

    processes: list[Annotated[float, Field(ge=0)] | None] = []
    node: float = Field(ge=0)


class Heartbeat(BaseModel):
    """The node is alive.

    Attributes:
        phase: what it does.
        quiet: for how long nothing has been heard of its scripts.
        wait_seconds: how long the answer may wait for something that the node has to do.
    """

    phase: str = "running"
    quiet: Quiet | None = None
    wait_seconds: float = Field(default=0.0, ge=0, le=60)


class Ending(BaseModel):
    """How a process ended; times are seconds since 1970."""

    exit_code: Count | None = None
    signal: Annotated[int, Field(ge=0, le=64)] | None = None
    stopped: bool = False
    ended_at: Moment | None = None


class ProcessReport(Ending):
    """A process that has ended, with its last lines."""

    stream: Text = ""
    started_at: Moment | None = None
    oom: bool = False
    last_lines: list[Text] = Field(default=[], max_length=1000)


class ServingBody(BaseModel):
    """What the serving program says of its model."""

    signature: SignatureRead | None = None


class NodeEvent(Ending):
    """Something happened on the node.

    Attributes:
        event: what.
        address, ports: with ``ready``, where other nodes reach it.
        place: with ``process_ended``, which of the node's processes.
        processes, helpers, reason: with ``exited``.
        code, message: with ``failed``.
        port, body: with ``serving``.
    """

    address: IPvAnyAddress | None = None
    ports: list[Port] = Field(default=[], max_length=10_000)
    place: Text | Count | None = None
    processes: list[ProcessReport] = Field(default=[], max_length=10_000)
    helpers: list[ProcessReport] = Field(default=[], max_length=10_000)
    reason: Text | None = None
    code: Text = ""
    message: Text = ""
    port: Port | None = None
    body: ServingBody | None = None
    event: Literal["ready", "started", "serving", "process_ended", "exited", "finished",
                   "failed"]  # fmt: skip


class NodePeer(BaseModel):
    """Where another node of the run is: its number, its address, and a port of its own."""

    node: int
    address: str
    port: int


class NodeCommand(BaseModel):
    """What the node should do now.

    Attributes:
        command: what.
        reason: with ``stop``, why.
        because: with ``stop``, the same for a person, when there is more to say.
        environments: with ``start``, further variables of each of the node's processes.
        hosts: with ``start``, all nodes, where a launcher starts the processes.
        peers: with ``start``, the other nodes that have not ended, which have to be within reach.
        keeps_checkpoint: after ``exited``, whether another attempt may go on from what was saved.
    """

    command: Literal["continue", "start", "stop"]
    reason: str | None = None
    because: str | None = None
    environments: list[dict[str, str]] = []
    hosts: list[dict[str, Any]] = []
    peers: list[NodePeer] = []
    keeps_checkpoint: bool = False


class RecordBatch(BaseModel):
    """Lines of the script's records file, numbered from 0."""

    first_seq: int = Field(ge=0)
    records: list[dict[str, Any]]


class RecordsAccepted(BaseModel):
    """How many are stored."""

    next_seq: int


class HostSample(BaseModel):
    """What a node used at one moment; the number makes a repeated delivery harmless."""

    number: int = Field(ge=0, le=2**40)
    time: float = Field(ge=0, le=YEAR_9999)
    values: dict[
        Annotated[str, StringConstraints(pattern=r"^[a-z0-9_.]{1,100}$")],
        Annotated[float, Field(allow_inf_nan=False)],
    ] = Field(max_length=MOST_HOST_VALUES)


class HostSamples(BaseModel):
    """Samples that have not been delivered yet."""

    samples: list[HostSample] = Field(max_length=1000)


class OutputFile(BaseModel):
    """A collected file."""

    path: Annotated[str, StringConstraints(min_length=1, max_length=5000)]
    sha256: Sha256
    size_bytes: int = Field(ge=0, le=MAX_INTEGER)


class Outputs(BaseModel):
    """The manifest of what the node collected."""

    files: list[OutputFile]
    partial: bool = False


class Checkpoint(BaseModel):
    """Files that the scripts saved, for the next attempt to go on from."""

    files: list[OutputFile]


class LogAccepted(BaseModel):
    """How long the stream is now."""

    length_bytes: int


class MissingQuery(BaseModel):
    """Which of these are not here yet?"""

    sha256: list[Sha256]


class PartialBlobRead(BaseModel):
    """How much of a file is here."""

    length_bytes: int
    is_complete: bool
    """Whether it is a blob of the workspace."""


class MissingAnswer(BaseModel):
    """Those that have to be sent."""

    missing: list[str]
