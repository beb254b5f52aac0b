"""Experiments as the API shows them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.names import Tags, TitleName


class ExperimentPut(BaseModel):
    """An experiment's description and tags."""

    model_config = ConfigDict(extra="forbid")

    description: str = Field(default="", max_length=5000)
    tags: Tags = {}


class ExperimentCreate(ExperimentPut):
    """A new experiment."""

    name: TitleName


class ExperimentRead(BaseModel):
    """An experiment."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    description: str
    tags: dict[str, str | None]
    created_at: datetime
    updated_at: datetime
    deleted_at: datetime | None
