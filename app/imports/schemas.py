"""Requests to import, and what is said about them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints
from pydantic_core import PydanticCustomError

from app.environments.spec import EnvironmentSpec
from app.imports.yaml_text import MAX_YAML_BYTES
from app.kernel.names import NAME_PATTERN, Tags, TitleName
from app.runs.schemas import DatasetVersion

Name = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]


def _document(value: object) -> object:
    """One error for what is neither of the two, at its place."""
    if not isinstance(value, dict | str):
        raise PydanticCustomError("job_type", "The job is an object, or text in YAML.")
    if isinstance(value, str) and len(value) > MAX_YAML_BYTES:
        raise PydanticCustomError(
            "string_too_long", "A text has at most {limit} bytes.", {"limit": MAX_YAML_BYTES}
        )
    return value


class ImportedDataset(BaseModel):
    """A dataset of this workspace that stands for an input of the document."""

    model_config = ConfigDict(extra="forbid")

    dataset: TitleName
    version: DatasetVersion = "latest"


class RunImport(BaseModel):
    """A job written for Azure ML, and what such a document cannot say."""

    model_config = ConfigDict(extra="forbid")

    job: Annotated[
        dict[str, Any] | Annotated[str, StringConstraints(max_length=MAX_YAML_BYTES)],
        BeforeValidator(_document),
    ] = Field(
        description="What the v1 SDK submits (Configuration, with script, target, environment …), "
        "a Command job of the v2 interface (properties, with command, environmentId …), or a "
        "job.yml of the v2 command line (command, environment, compute …); as text: the same in "
        "YAML"
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
    display_name: str | None = Field(
        default=None, max_length=256, description="Instead of the job's own"
    )
    tags: Tags = Field(default={}, max_length=50, description="Beside the job's own")


class ImportNote(BaseModel):
    """What became of one part of the document."""

    kind: Literal["translated", "defaulted", "left_aside", "unsupported"]
    pointer: str = Field(description="The part, in the request; '' where the document is silent")
    run_pointer: str | None = Field(description="What it became, in the run request")
    code: str
    message: str


class ImportReport(BaseModel):
    """What importing a document would do."""

    is_valid: bool = Field(description="Whether the same request would be accepted now")
    run: dict[str, Any] | None = Field(
        description="The body of POST …/runs that says the same; null where it cannot be said"
    )
    notes: list[ImportNote]
