"""Metrics as the API takes and shows them."""

import json
from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from app.kernel.orm import MAX_INTEGER

LONGEST_NAME = 255
_MOST_CHARACTERS = 1024 * 1024
"""Of a value that is no number, as JSON."""
YEAR_9999 = 253_370_764_800
MetricType = Literal[
    "scalar", "string", "list", "vector", "row", "table", "image", "confusion_matrix", "json"
]


class MetricRecord(BaseModel):
    """One logged value."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(min_length=1, max_length=LONGEST_NAME, pattern=r"^[^\x00]*$")
    type: MetricType = "scalar"
    value: Any = None
    step: int | None = Field(default=None, ge=-MAX_INTEGER, le=MAX_INTEGER)
    epoch: int | None = Field(default=None, ge=-MAX_INTEGER, le=MAX_INTEGER)
    time: float | None = Field(
        default=None, ge=0, le=YEAR_9999, description="Seconds since 1970; absent: now"
    )

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        if not _is_number(self.value) and _characters(self.value) > _MOST_CHARACTERS:
            raise ValueError(
                f"a value may have {_MOST_CHARACTERS:,} characters as JSON: what is larger is a "
                "file of the run"
            )
        if self.type == "vector" and not _is_vector(self.value):
            raise ValueError("the value of a vector must be a list of numbers")
        if self.type == "confusion_matrix" and not _is_confusion_matrix(self.value):
            raise ValueError(
                "the value of a confusion_matrix must be "
                '{"class_labels": […], "matrix": a row of numbers for each label}'
            )
        return self


class MetricBatch(BaseModel):
    """Values from one client; a batch sent again changes nothing."""

    model_config = ConfigDict(extra="forbid")

    source: str = Field(
        pattern=r"^[A-Za-z0-9._-]{1,100}$", description="Who sends; chosen by the client"
    )
    first_seq: int = Field(
        ge=0, le=2**53, description="Number of the first value; count up over batches"
    )
    values: Annotated[list[MetricRecord], Field(min_length=1, max_length=1000)]


class MetricBatchAccepted(BaseModel):
    """What is stored now."""

    next_seq: int


class MetricPoint(BaseModel):
    """One value of a metric."""

    value: Any
    step: int | None
    epoch: int | None
    logged_at: datetime


class MetricSummaryRead(BaseModel):
    """What is known of a metric without looking at its values."""

    name: str
    type: str = Field(description="Of the last value; new types may appear")
    count: int
    last: Any = Field(
        description="The value of the highest step, of those the latest; without steps the latest"
    )
    last_step: int | None = None
    last_at: datetime
    min: float | None = None
    min_step: int | None = None
    max: float | None = None
    max_step: int | None = None


class MetricRead(MetricSummaryRead):
    """A metric with its values in the order in which they were logged."""

    points: list[MetricPoint]


class MetricList(BaseModel):
    """The metrics of a run's current attempt."""

    items: list[MetricRead]


class MetricSummaryList(BaseModel):
    """The metrics of a run's current attempt, without their values."""

    items: list[MetricSummaryRead]


class ComparedRun(BaseModel):
    """The metrics of one of the runs that are compared."""

    run_id: str
    display_name: str
    status: str
    metrics: list[MetricRead]


class Comparison(BaseModel):
    """Runs side by side, in the order in which they were asked for."""

    items: list[ComparedRun]


def _characters(value: Any) -> int:
    try:
        return len(json.dumps(value, ensure_ascii=False))
    except RecursionError as error:
        raise ValueError("the value is nested too deeply") from error


def _is_vector(value: Any) -> bool:
    return isinstance(value, list) and all(_is_number(item) for item in value)


def _is_confusion_matrix(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    labels, matrix = value.get("class_labels"), value.get("matrix")
    if not isinstance(labels, list) or not isinstance(matrix, list):
        return False
    return len(matrix) == len(labels) and all(
        _is_vector(row) and len(row) == len(labels) for row in matrix
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
