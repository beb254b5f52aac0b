"""Batch scorings as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.kernel.names import NAME_PATTERN, Tags, ThingName, TitleName
from app.kernel.orm import MAX_INTEGER
from app.models.schemas import VersionName

OutputFormat = Literal["jsonl", "csv"]
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00]*$")]
Column = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=r"^[^\x00]*$")]


class BatchScoringCreate(BaseModel):
    """A model version to be run over a dataset version."""

    model_config = ConfigDict(extra="forbid")

    experiment_name: TitleName
    cluster_name: Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
    model_name: ThingName
    model_version: VersionName = Field(
        default="latest",
        description="A number, latest or an alias: fixed when the scoring is submitted",
    )
    dataset_name: TitleName
    dataset_version: Annotated[int, Field(ge=1, le=MAX_INTEGER)] | Literal["latest"] = Field(
        default="latest", description="A number, or latest: fixed when the scoring is submitted"
    )
    files: list[Pattern] = Field(
        default=[],
        max_length=100,
        description="Files of the dataset to score: paths, or patterns with * and ?; absent: all",
    )
    columns: list[Column] = Field(
        default=[],
        max_length=10_000,
        description="Columns of CSV files that make up the model's one input; absent: a column "
        "for each input by its name, else all columns",
    )
    output_dataset_name: TitleName = Field(description="The predictions become its next version")
    output_format: OutputFormat = "jsonl"
    mini_batch_rows: int = Field(default=64, ge=1, le=10_000, description="In one call")
    max_failed_rows: int | None = Field(
        default=0,
        ge=0,
        description="So many rows may fail, and the rest is scored; null: any number",
    )
    node_count: int = Field(default=1, ge=1, le=100, description="They share the rows")
    use_gpu: bool = False
    max_run_duration_seconds: int | None = Field(default=None, ge=1, le=30 * 24 * 3600)
    max_cost: float | None = Field(default=None, gt=0, le=1_000_000_000)
    max_attempts: int = Field(default=3, ge=1, le=10, description="When nodes are lost")
    priority: int = Field(default=50, ge=0, le=100)
    display_name: str = Field(default="", max_length=200)
    description: str = Field(default="", max_length=5000)
    tags: Tags = Field(default={}, max_length=50)


class BatchScoringError(BaseModel):
    """Why a batch scoring failed, or why it cannot be ended now."""

    model_config = ConfigDict(extra="allow")

    code: str = Field(
        description="too_many_failed_rows, or what the run failed with; before its end: "
        "reconcile_failed, which is tried again"
    )
    message: str


class BatchScoringRead(BaseModel):
    """A batch scoring."""

    id: str
    status: str = Field(
        description="Running, CancelRequested, Completed, Failed or Canceled; more may come"
    )
    error: BatchScoringError | None
    run_id: str | None = Field(description="Whose logs, metrics and files; null: it was deleted")
    run_status: str | None
    experiment_name: str
    cluster_name: str
    model_name: str
    model_version: int
    dataset_name: str
    dataset_version: int
    files: list[str]
    columns: list[str]
    output_dataset_name: str
    output_dataset_version: int | None = Field(description="Once it has completed")
    output_format: str
    mini_batch_rows: int
    max_failed_rows: int | None
    node_count: int
    rows_scored: int = Field(description="By now")
    rows_failed: int
    display_name: str
    description: str
    tags: dict[str, str]
    created_by: str
    created_at: datetime
    updated_at: datetime
    ended_at: datetime | None
