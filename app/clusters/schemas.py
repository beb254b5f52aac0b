"""Clusters as the API shows them."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from app.kernel.names import Tags
from app.kernel.numbers import number_only
from app.kernel.tags import TagChanges

_NUMBERS = ("min_nodes", "max_nodes", "idle_seconds_before_scaledown")


class ScaleSettings(BaseModel):
    """How a cluster grows and shrinks."""

    min_nodes: int
    max_nodes: int
    idle_seconds_before_scaledown: int


class ClusterPut(BaseModel):
    """A cluster as it should be."""

    model_config = ConfigDict(extra="forbid")

    vm_size: str = Field(description="One of GET /v1/vm-sizes; upper and lower case are equal")
    vm_priority: Literal["dedicated", "lowpriority"] = "dedicated"
    min_nodes: int = Field(default=0, ge=0, le=1000)
    max_nodes: int = Field(default=4, ge=1, le=1000)
    idle_seconds_before_scaledown: int = Field(default=120, ge=0, le=7 * 24 * 3600)
    node_placement: Literal["spread", "pack"] = Field(
        default="spread", description="Over as many hosts as can be, or on as few"
    )
    is_enabled: bool = Field(
        default=True, description="false: nothing new starts on it; what runs goes on"
    )
    description: str = Field(default="", max_length=5000)
    tags: Tags = {}

    _numbers = field_validator(*_NUMBERS, mode="before")(number_only)

    @model_validator(mode="after")
    def _ordered(self) -> "ClusterPut":
        if self.min_nodes > self.max_nodes:
            raise ValueError("min_nodes must not be larger than max_nodes")
        return self


class ClusterUpdate(BaseModel):
    """A merge patch: absent fields stay as they are; null resets one, or removes a tag.

    What a cluster cannot be without is not reset: its null changes nothing.
    """

    model_config = ConfigDict(extra="forbid")

    min_nodes: int | None = Field(default=None, ge=0, le=1000)
    max_nodes: int | None = Field(default=None, ge=1, le=1000)
    idle_seconds_before_scaledown: int | None = Field(default=None, ge=0, le=7 * 24 * 3600)
    node_placement: Literal["spread", "pack"] | None = None
    is_enabled: bool | None = None
    description: str | None = Field(default=None, max_length=5000)
    tags: TagChanges | None = None

    _numbers = field_validator(*_NUMBERS, mode="before")(number_only)


class NodeStateCounts(BaseModel):
    """Nodes by state."""

    idle: int = 0
    running: int = 0
    preparing: int = 0
    unusable: int = 0
    leaving: int = 0
    preempted: int = 0


class ClusterRead(BaseModel):
    """A cluster."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    description: str
    tags: dict[str, str | None]
    vm_size: str
    vm_priority: str
    node_placement: str
    is_enabled: bool
    provisioning_state: str = Field(description="Creating, Succeeded, Failed or Deleting")
    provisioning_state_transition_time: datetime
    allocation_state: str = Field(description="Steady or Resizing")
    allocation_state_transition_time: datetime
    current_node_count: int
    target_node_count: int
    node_state_counts: NodeStateCounts
    scale_settings: ScaleSettings
    failed_starts: int = Field(description="Starts of nodes that failed since one last succeeded")
    errors: list[dict[str, Any]]
    created_at: datetime
    updated_at: datetime


class ClusterNodeRead(BaseModel):
    """A node of a cluster."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    index: int
    state: str = Field(
        description="idle, preparing (its run is being started), running, leaving (its host is "
        "being drained, or its cluster deleted), preempted, or unusable"
    )
    run_id: str | None
    failed_starts: int = Field(description="In a row, of what was to run here")
    unusable_because: str | None
    host: str = Field(description="One of GET /v1/hosts")
    cores: float
    memory_bytes: int
    gpus: int
    created_at: datetime
    idle_since: datetime | None


class VmSizeRead(BaseModel):
    """A size: what a node of it nominally has, and what it costs."""

    name: str
    cores: int
    memory_gb: float
    gpus: int
    price_per_hour: float = Field(description="Of one node, now; see docs/budgets.md")
    currency: str
