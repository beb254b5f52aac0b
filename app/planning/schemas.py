"""Quotas as the API shows them."""

from datetime import datetime
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

QuotaKind = Literal["workspace", "user"]


class QuotaPut(BaseModel):
    """The most that a workspace or a user may have at a time; absent: no limit."""

    model_config = ConfigDict(extra="forbid")

    runs: int | None = Field(default=None, ge=0, le=1_000_000, description="Runs that have nodes")
    nodes: int | None = Field(default=None, ge=0, le=1_000_000)
    cores: int | None = Field(
        default=None, ge=0, le=10_000_000, description="By the nominal sizes of the nodes"
    )
    gpus: int | None = Field(default=None, ge=0, le=1_000_000)
    share: float = Field(
        default=1.0, gt=0, le=1000, description="Of a workspace: with twice the share it gets twice"
    )


class QuotaRead(QuotaPut):
    """A quota."""

    model_config = ConfigDict(from_attributes=True, extra="ignore")

    kind: str = Field(description="workspace or user")
    owner: str = Field(
        description="Name of the workspace or of the user; id of a workspace that was deleted"
    )
    is_owner_gone: bool = Field(
        description="The owner was deleted, and it can be deleted too: until then, a user's limits "
        "what that user has submitted, and a new user of the name"
    )
    created_at: datetime
    updated_at: datetime
