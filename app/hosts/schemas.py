"""Hosts as the API shows them."""

from datetime import datetime

from pydantic import BaseModel, Field


class HostRead(BaseModel):
    """A machine that nodes may live on."""

    name: str
    provider: str
    state: str = Field(
        description="ready; drained, unreachable, down or unknown take no nodes. "
        "New values may appear"
    )
    detail: str = Field(description="Why it takes no nodes")
    address: str = Field(description="Where its peers reach it, if that is known")
    cores: float
    memory_bytes: int
    gpus: int
    labels: dict[str, str]
    cluster_nodes: int = Field(description="Nodes of clusters that are there")
    running_nodes: int = Field(description="Those of them that a run has now")
    state_transition_time: datetime
    last_seen_at: datetime = Field(description="When a worker last looked")
