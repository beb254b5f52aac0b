"""Workspaces as the API shows them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.names import Tags, WorkspaceName
from app.kernel.tags import TagChanges


class WorkspaceUpdate(BaseModel):
    """A workspace as it should be."""

    model_config = ConfigDict(extra="forbid")

    description: str = Field(default="", max_length=5000)
    tags: Tags = {}
    log_retention_days: int | None = Field(
        default=None,
        ge=1,
        le=36_500,
        description="Logs of runs are removed so many days after the run's end, lines of "
        "deployments so many days after they were printed; null: never",
    )
    max_active_runs: int | None = Field(
        default=None,
        ge=1,
        le=1_000_000,
        description="So many of its runs may be waiting or running; null: as many as the "
        "installation allows; only administrators may change it",
    )


class WorkspaceCreate(WorkspaceUpdate):
    """A new workspace."""

    name: WorkspaceName


class WorkspacePatch(BaseModel):
    """A merge patch: absent fields stay as they are; null resets one, or removes a tag."""

    model_config = ConfigDict(extra="forbid")

    description: str | None = Field(default=None, max_length=5000)
    tags: TagChanges | None = None
    log_retention_days: int | None = Field(default=None, ge=1, le=36_500)
    max_active_runs: int | None = Field(
        default=None, ge=1, le=1_000_000, description="Only administrators may change it"
    )


class WorkspaceRead(BaseModel):
    """A workspace."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    description: str
    tags: dict[str, str | None]
    log_retention_days: int | None
    max_active_runs: int | None
    created_at: datetime
    updated_at: datetime


class ClientConfig(BaseModel):
    """``config.json``: what a client needs to find the workspace; never a secret.

    The three Azure keys are there so that scripts that read them go on working.
    """

    subscription_id: str
    resource_group: str
    workspace_name: str
    endpoint: str
