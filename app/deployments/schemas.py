"""Deployments as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

from app.kernel.names import Tags, ThingName
from app.models.schemas import ResourceConfiguration, SignatureRead

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


class DeploymentPut(BaseModel):
    """A model version behind a scoring address."""

    model_config = ConfigDict(extra="forbid")

    model_name: ThingName
    model_version: int | Literal["latest"] = Field(
        default="latest", description="A number, or latest: fixed when the call is made"
    )
    replicas: int = Field(default=1, ge=1, le=MAX_REPLICAS)
    resource_configuration: ResourceConfiguration | None = Field(
        default=None, description="Absent: that of the model version"
    )
    limits: DeploymentLimits = DeploymentLimits()
    description: str = Field(default="", max_length=5000)
    tags: Tags = {}


class ReplicaRead(BaseModel):
    """One serving process."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    generation: int
    index: int
    start: int = Field(description="Counts the starts of this index in its generation")
    state: str = Field(description="Assigned, Launched, Serving, Exited or Lost; more may come")
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
