"""Hosts as the API shows them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field, field_validator

ENGINE_URL_PATTERN = r"^(tcp://[A-Za-z0-9._-]+:[0-9]{1,5}|unix:///[A-Za-z0-9._/-]+)$"
_LAST_PORT = 65_535


class HostLimits(BaseModel):
    """The most of a host that is handed out; absent: all that it has."""

    model_config = ConfigDict(extra="forbid", from_attributes=True)

    cores: float | None = Field(default=None, ge=0, le=100_000)
    memory_bytes: int | None = Field(default=None, ge=0, le=2**60)
    gpus: int | None = Field(default=None, ge=0, le=10_000)


class HostPut(BaseModel):
    """What an administrator wants of a host."""

    model_config = ConfigDict(extra="forbid")

    engine_url: str | None = Field(
        default=None,
        max_length=500,
        pattern=ENGINE_URL_PATTERN,
        description="Registers the Docker engine that answers there, a member of the swarm: "
        "tcp://HOST:PORT or unix:///PATH. Absent for hosts that the settings name",
    )
    limits: HostLimits = HostLimits()

    @field_validator("engine_url")
    @classmethod
    def _has_a_port(cls, url: str | None) -> str | None:
        if url and url.startswith("tcp://") and not 0 < int(url.rpartition(":")[2]) <= _LAST_PORT:
            raise ValueError(f"ports are 1 to {_LAST_PORT}")
        return url


class HostDrain(BaseModel):
    """How a host is emptied."""

    model_config = ConfigDict(extra="forbid")

    deadline_seconds: int | None = Field(
        default=None,
        ge=0,
        le=30 * 86_400,
        description="Runs that are there after so long begin a new attempt elsewhere; absent: they "
        "go on to their end",
    )
    reason: str = Field(default="", max_length=500)


class HostRead(BaseModel):
    """A machine that nodes may live on."""

    name: str
    provider: str = Field(description="Empty until a worker has looked at it")
    state: str = Field(
        description="ready; draining, drained, unreachable, down or unknown take no nodes. "
        "New values may appear"
    )
    detail: str = Field(description="Why it takes no nodes")
    address: str = Field(description="Where its peers reach it, if that is known")
    cores: float
    memory_bytes: int
    gpus: int
    limits: HostLimits
    engine_url: str | None = Field(description="Of an engine that was registered through the API")
    draining_since: datetime | None
    drain_by: datetime | None = Field(description="When what still runs there is moved")
    labels: dict[str, str]
    cluster_nodes: int = Field(description="Nodes of clusters that are there")
    running_nodes: int = Field(description="Those of them that a run has now")
    state_transition_time: datetime
    last_seen_at: datetime = Field(
        description="When a worker last looked; of an engine that none has looked at yet, when it "
        "was registered"
    )
