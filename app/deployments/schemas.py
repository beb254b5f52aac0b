"""Deployments as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from fastapi import Path
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from app.kernel.names import Tags, ThingName
from app.models.schemas import ResourceConfiguration, SignatureRead, VersionName

NAME_PATTERN = r"^[a-z][a-z0-9-]{2,31}$"
"""3 to 32 lower-case letters, digits and dashes, a letter first (contract, 2.9)."""
MAX_REPLICAS = 32

DeploymentPath = Annotated[
    str,
    Path(
        pattern=NAME_PATTERN,
        description="3 to 32 lower-case letters, digits and dashes; a letter first",
    ),
]


class DeploymentLimits(BaseModel):
    """What a deployment takes on."""

    model_config = ConfigDict(extra="forbid")

    max_body_bytes: int | None = Field(
        default=None, ge=1, description="Of a request, else 413; absent: as the installation takes"
    )
    max_waiting: int = Field(
        default=256, ge=1, le=10_000, description="Requests that wait at a replica, else 429"
    )
    timeout_seconds: float = Field(
        default=30.0,
        ge=0.1,
        le=600.0,
        description="From a request's arrival at a replica, else 504",
    )


class Autoscale(BaseModel):
    """How the number of replicas follows the load."""

    model_config = ConfigDict(extra="forbid")

    min_replicas: int = Field(
        default=1, ge=0, le=MAX_REPLICAS, description="0: none while nobody asks"
    )
    max_replicas: int = Field(ge=1, le=MAX_REPLICAS)
    target_concurrency: float = Field(
        default=4.0, gt=0, le=1000, description="Requests under way at a time, for each replica"
    )
    idle_seconds: float = Field(
        default=300.0, ge=1, le=86_400, description="Fewer replicas only when so long fewer do"
    )

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.min_replicas > self.max_replicas:
            raise ValueError("min_replicas is over max_replicas")
        return self


class Traffic(BaseModel):
    """Where a deployment's requests go: percent of them, by the name of another deployment."""

    model_config = ConfigDict(extra="forbid")

    shares: dict[ThingName, Annotated[float, Field(gt=0, le=100)]] = Field(
        default={}, max_length=8, description="These answer instead of this deployment"
    )
    shadow: dict[ThingName, Annotated[float, Field(gt=0, le=100)]] = Field(
        default={}, max_length=8, description="These get a copy; their answers are dropped"
    )

    @model_validator(mode="after")
    def _at_most_all(self) -> Self:
        if sum(self.shares.values()) > 100:
            raise ValueError("shares are over 100 percent together")
        return self


class DataCapture(BaseModel):
    """Which requests and answers are kept, and for how long."""

    model_config = ConfigDict(extra="forbid")

    percent: float = Field(default=100.0, gt=0, le=100, description="Of the predictions, by chance")
    max_body_bytes: int = Field(
        default=65_536,
        ge=1,
        le=1024**2,
        description="Of a request or an answer; of longer ones only the length is kept",
    )
    keep_days: float = Field(default=30.0, gt=0, le=3650, description="Files go after so long")
    max_total_bytes: int = Field(
        default=1024**3, ge=1, le=1024**4, description="Of all files; beyond it the oldest go"
    )


class DeploymentPut(BaseModel):
    """A model version behind a scoring address."""

    model_config = ConfigDict(extra="forbid")

    model_name: ThingName
    model_version: VersionName = Field(
        default="latest", description="A number, latest or an alias: fixed when the call is made"
    )
    replicas: int = Field(
        default=1, ge=1, le=MAX_REPLICAS, description="Without autoscale, which says how many else"
    )
    autoscale: Autoscale | None = None
    resource_configuration: ResourceConfiguration | None = Field(
        default=None, description="Absent: that of the model version"
    )
    limits: DeploymentLimits = DeploymentLimits()
    data_capture: DataCapture | None = Field(
        default=None, description="Keep requests and answers; absent: none are kept"
    )
    description: str = Field(default="", max_length=5000)
    tags: Tags = {}


class ReplicaRead(BaseModel):
    """One serving process."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    generation: int
    index: int
    start: int = Field(description="Counts the starts of this index in its generation")
    state: str = Field(
        description="Assigned, Launched, Serving, Draining, Exited or Lost; more may come"
    )
    serving_at: datetime | None


class DeploymentRead(BaseModel):
    """A deployment."""

    id: str
    name: str
    description: str
    tags: dict[str, str | None]
    model_name: str
    model_version: int
    replicas: int
    ready_replicas: int
    resource_configuration: ResourceConfiguration
    limits: DeploymentLimits
    autoscale: Autoscale | None
    traffic: Traffic
    data_capture: DataCapture | None
    generation: int
    state: str = Field(
        description="Transitioning, Healthy, Unhealthy, Unschedulable or Failed; more may come"
    )
    state_at: datetime
    error: dict[str, Any] | None = Field(description="code, message and, where it fits, last_lines")
    is_deleting: bool
    scoring_uri: str
    swagger_uri: str
    image_hash: str | None
    signature: SignatureRead | None
    replica_states: list[ReplicaRead]
    created_at: datetime
    updated_at: datetime


class DeploymentKeys(BaseModel):
    """What callers of the scoring address send as Bearer."""

    primary: str
    secondary: str


class KeyRegenerate(BaseModel):
    """Which key to replace."""

    model_config = ConfigDict(extra="forbid")

    key: Literal["primary", "secondary"]


class CaptureFileRead(BaseModel):
    """A file of captured predictions."""

    id: str
    path: str = Field(description="Its name, also in datasets that are made of it")
    sha256: str
    size_bytes: int
    record_count: int
    first_at: datetime
    last_at: datetime
    expires_at: datetime


class CapturesRegister(BaseModel):
    """Which captured files to make a dataset version of."""

    model_config = ConfigDict(extra="forbid")

    dataset_name: ThingName
    after: AwareDatetime | None = Field(
        default=None, description="Files with a prediction from then on; absent: from the first"
    )
    before: AwareDatetime | None = Field(
        default=None, description="Files with a prediction before then; absent: to the last"
    )
    description: str = Field(default="", max_length=5000)
