"""Requests to import."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.environments.spec import EnvironmentSpec
from app.kernel.names import NAME_PATTERN, TitleName

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


class ImportedDataset(BaseModel):
    """A dataset of this workspace that stands for an input of the document."""

    model_config = ConfigDict(extra="forbid")

    dataset: TitleName
    version: int | Literal["latest"] = "latest"


class RunImport(BaseModel):
    """A job written for Azure ML, and what such a document cannot say."""

    model_config = ConfigDict(extra="forbid")

    job: dict[str, Any] = Field(
        description="What the v1 SDK submits (Configuration, with script, target, environment …), "
        "or a Command job of the v2 interface (properties, with command, environmentId …)"
    )
    snapshot_id: str = Field(max_length=100, description="The source folder, uploaded here")
    experiment_name: TitleName | None = Field(
        default=None, description="Needed with v1; with v2 the job's own if absent"
    )
    cluster_name: Name | None = Field(default=None, description="Instead of the job's target")
    datasets: dict[Annotated[str, StringConstraints(max_length=100)], ImportedDataset] = Field(
        default={}, description="Names of the job's inputs, and what they are here"
    )
    environment: EnvironmentSpec | None = Field(
        default=None, description="Instead of the job's environment"
    )
    environment_name: Name | None = Field(
        default=None, description="Instead of the job's environment: one of this workspace"
    )
    python_version: str | None = Field(
        default=None, max_length=20, description="Instead of the Python of the job's environment"
    )
