"""Runs as the API takes and shows them."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)
from pydantic_core import PydanticCustomError, PydanticKnownError

from app.environments.spec import EnvironmentSpec
from app.kernel.names import NAME_PATTERN, Tags, ThingName, TitleName
from app.kernel.numbers import number_only
from app.kernel.tags import TagChanges
from app.runs import shared_memory
from app.runs.states import BlockerCode
from app.runtimes.distribution import Distribution

InputName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
VariableName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,254}$")]
SecretName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")]
VariableValue = Annotated[str, StringConstraints(max_length=32_768, pattern=r"^[^\x00]*$")]
Argument = Annotated[str, StringConstraints(max_length=32_768, pattern=r"^[^\x00]*$")]


def _number_or_latest(value: object) -> object:
    if value != "latest" and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise PydanticCustomError("version_type", "The version is a number, or 'latest'.")
    return value


DatasetVersion = Annotated[int | Literal["latest"], BeforeValidator(_number_or_latest)]
ScriptFailure = Literal["process_failed", "out_of_memory", "silent"]


class DatasetInput(BaseModel):
    """A dataset version as an input of a run."""

    model_config = ConfigDict(extra="forbid")

    dataset: TitleName
    version: DatasetVersion = Field(
        default="latest", description="A number, or latest: fixed when the run is submitted"
    )
    mode: Literal["mount", "download"] = "mount"
    path_on_compute: str | None = Field(
        default=None, max_length=1000, description="Folder on the node; absent: one is chosen"
    )


class SecretUse(BaseModel):
    """A secret of the workspace that a run gets as a file."""

    model_config = ConfigDict(extra="forbid")

    secret: ThingName
    version: int | None = Field(
        default=None, ge=1, description="Absent: the newest when an attempt starts"
    )

    _numbers = field_validator("version", mode="before")(number_only)


class DatasetArgument(DatasetInput):
    """A dataset as the value of an argument: the script gets the folder's path."""

    name: InputName | None = Field(default=None, description="Name of the input")


def _one_kind(value: object) -> object:
    """Judge an object as a dataset only: what else it might have been, nobody wants to know."""
    if isinstance(value, dict):
        return DatasetArgument.model_validate(value)
    if isinstance(value, list):
        raise PydanticCustomError("value_type", "A value is text, a number or a dataset.")
    if isinstance(value, float) and not math.isfinite(value):
        raise PydanticKnownError("finite_number")
    return value


ParameterValue = Annotated[
    str | int | float | bool | DatasetArgument | None, BeforeValidator(_one_kind)
]
ArgumentValue = Annotated[str | int | float | DatasetArgument, BeforeValidator(_one_kind)]


class RunCreate(BaseModel):
    """A job to be run: an entry script with its parameters, or any command."""

    model_config = ConfigDict(extra="forbid")

    experiment_name: TitleName
    snapshot_id: str = Field(max_length=100)
    cluster_name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
    entry_script: str | None = Field(
        default=None, max_length=1000, description="Path of a Python file in the snapshot"
    )
    command: str | list[Argument] | None = Field(
        default=None,
        description="Instead of entry_script: a shell line or a list of words; "
        "${{inputs.NAME}} becomes the folder of an input",
    )
    script_params: dict[Argument, ParameterValue] = Field(
        default={}, description="Arguments by name; a value may be a dataset; null or '': a flag"
    )
    arguments: list[ArgumentValue] = []
    inputs: dict[InputName, DatasetInput] = {}
    environment: EnvironmentSpec | None = None
    environment_name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)] | None = None
    use_gpu: bool | None = Field(default=None, description="Overrides the environment's use_gpu")
    environment_variables: dict[VariableName, VariableValue] = {}
    secrets: dict[SecretName, SecretUse] = Field(
        default={},
        max_length=50,
        description="Secrets of the workspace that the processes get as files; the path is in "
        "TRAINWRIGHT_SECRET_<NAME>_FILE",
    )
    node_count: int = Field(default=1, ge=1, le=100)
    process_count_per_node: int = Field(default=1, ge=1, le=64)
    distribution: Distribution | None = Field(
        default=None, description="Absent: the same command once on each node"
    )
    shm_size: Annotated[str, StringConstraints(pattern=shared_memory.PATTERN)] | None = Field(
        default=None, description="Size of /dev/shm on each node, as 2g; absent: 2g"
    )
    max_run_duration_seconds: int | None = Field(default=None, ge=1, le=30 * 24 * 3600)
    max_cost: float | None = Field(
        default=None,
        gt=0,
        le=1_000_000_000,
        description="The run is stopped when its nodes have cost so much, in the installation's "
        "currency; absent: it may cost what its workspace may",
    )
    max_attempts: int = Field(
        default=3, ge=1, le=10, description="Attempts when nodes are lost, or as retry_on says"
    )
    retry_on: list[ScriptFailure] = Field(
        default=[], description="Failures of the script after which it is started again as well"
    )
    silence_timeout_seconds: int | None = Field(
        default=None,
        ge=1,
        le=30 * 24 * 3600,
        description="When no process has printed or logged anything for so long, the run hangs, "
        "and is ended; absent: it may be silent",
    )
    priority: int = Field(
        default=50, ge=0, le=100, description="Higher goes first; waiting raises it"
    )
    display_name: str = Field(default="", max_length=256)
    description: str = Field(default="", max_length=5000)
    tags: Tags = Field(default={}, max_length=50)
    properties: Tags = Field(default={}, max_length=50)

    _numbers = field_validator(
        "node_count",
        "process_count_per_node",
        "max_run_duration_seconds",
        "max_attempts",
        "silence_timeout_seconds",
        "priority",
        mode="before",
    )(number_only)

    @model_validator(mode="after")
    def _one_program(self) -> "RunCreate":
        if (self.entry_script is None) == (self.command is None):
            raise ValueError("give either entry_script or command")
        if self.environment is not None and self.environment_name is not None:
            raise ValueError("give either environment or environment_name")
        if self.command is not None and not self.command:
            raise ValueError("command must not be empty")
        return self


class RunUpdate(BaseModel):
    """Changes to a run; a tag set to null is removed; properties can only be added."""

    model_config = ConfigDict(extra="forbid")

    display_name: str | None = Field(default=None, max_length=256)
    description: str | None = Field(default=None, max_length=5000)
    tags: TagChanges = {}
    properties: Tags = {}


class Blocker(BaseModel):
    """One reason why a run is not running yet."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(description=f"One of: {', '.join(BlockerCode)}")
    object: str
    since: datetime
    clears_when: str


class RunEstimate(BaseModel):
    """What is expected of a run; of one that waits, when it starts; null: nobody knows."""

    starts_after: datetime | None = None
    starts_before: datetime | None = None
    takes_at_least_seconds: float | None = Field(
        default=None, description="This and the following only with validate_only"
    )
    takes_at_most_seconds: float | None = None
    costs_at_least: float | None = None
    costs_at_most: float | None = None
    currency: str | None = None
    learned_from_runs: int | None = Field(
        default=None, description="Completed runs; without any, limits are all that is known"
    )
    learned_from: str | None = Field(default=None, description="What those have in common with it")
    blocker: Blocker | None = Field(default=None, description="What would keep it waiting now")


def estimate_of(blockers: Sequence[Mapping[str, Any]]) -> RunEstimate | None:
    """When a waiting run is thought to start, as its blockers have it; None: they do not."""
    for found in blockers:
        if "starts_after" in found:
            return RunEstimate(
                starts_after=found["starts_after"], starts_before=found["starts_before"]
            )
    return None


class SilentProcess(BaseModel):
    """A process of which nothing was heard."""

    rank: int
    role: str
    node: str
    since: datetime


class RunError(BaseModel):
    """Why a run failed or was canceled."""

    model_config = ConfigDict(extra="allow")

    code: str
    message: str
    rank: int | None = None
    role: str | None = None
    node: str | None = None
    host: str | None = Field(default=None, description="With the code node_lost: where it was")
    exit_code: int | None = None
    ended_at: datetime | None = None
    signal: str | None = None
    last_lines: list[str] = []
    silent: list[SilentProcess] | None = Field(
        default=None, description="With the code silent: who, the one that fell silent first first"
    )


class AttemptNodeRead(BaseModel):
    """A node of an attempt."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    node_index: int
    host: str = Field(description="One of GET /v1/hosts")
    state: str = Field(
        description="Assigned, Launched, Ready, Running, Exited, Finished, Failed or Lost"
    )
    address: str | None = Field(description="Where the other nodes reach it, once it is ready")


class AttemptRead(BaseModel):
    """One try at executing the run."""

    number: int
    created_at: datetime
    ended_at: datetime | None
    outcome: str
    error: RunError | None
    nodes: list[AttemptNodeRead]


class InputDataset(BaseModel):
    """A dataset version that a run reads."""

    name: str
    dataset: str
    version: int
    mode: str


class RunRead(BaseModel):
    """A run."""

    id: str
    kind: str = Field(description="job, or tracked: only recorded here; see docs/mlflow.md")
    status: str = Field(description="New values may appear")
    experiment_name: str
    cluster_name: str | None
    display_name: str
    description: str
    tags: dict[str, str | None]
    properties: dict[str, str]
    params: dict[str, str] = Field(description="As a tracking client such as MLflow logged them")
    blockers: list[Blocker]
    queue_position: int | None = Field(description="1 is next; only while it waits for nodes")
    estimate: RunEstimate | None = Field(
        description="While it waits for nodes, and with validate_only"
    )
    warnings: list[dict[str, Any]]
    error: RunError | None
    attempt: int
    max_attempts: int
    node_count: int
    priority: int
    snapshot_id: str | None
    image_hash: str | None
    image_reference: str | None = Field(
        description="The container image of its nodes: repository@digest, or an engine's id"
    )
    input_datasets: list[InputDataset]
    request: dict[str, Any] = Field(description="What was asked for, with versions resolved")
    outputs_partial: bool
    cost: float = Field(
        description="Of the nodes that its attempts held, by now; see docs/budgets.md"
    )
    trace_id: str | None = Field(
        description="Of the trace that it belongs to; see docs/observability.md"
    )
    creator_run_id: str | None = Field(description="Whose script made this tracked run")
    created_by: str
    created_at: datetime
    updated_at: datetime
    queued_at: datetime | None
    started_at: datetime | None
    ended_at: datetime | None
    logs_sealed_at: datetime | None
    deleted_at: datetime | None


class RunEventRead(BaseModel):
    """One change of a run."""

    model_config = ConfigDict(from_attributes=True)

    seq: int
    type: str
    status: str
    actor: str
    reason: str
    data: dict[str, Any]
    created_at: datetime


class RunEventList(BaseModel):
    """Events in order; ask again with ``after`` set to the last ``seq``."""

    items: list[RunEventRead]


class LogStreamRead(BaseModel):
    """One byte stream of a run's log; the name '' is all of them merged."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    attempt: int
    node_index: int | None = Field(description="The node that writes it; null: none does")
    length_bytes: int
    is_sealed: bool
    sha256: str | None
    expired_at: datetime | None = Field(description="When the workspace's retention took it away")


class RunFileRead(BaseModel):
    """A file of a run."""

    model_config = ConfigDict(from_attributes=True)

    path: str
    size_bytes: int
    sha256: str
    origin: str
    created_at: datetime
