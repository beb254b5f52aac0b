"""Metrics as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.kernel.orm import MAX_INTEGER

_YEAR_9999 = 253_370_764_800
MetricType = Literal["scalar", "string", "list", "row", "table", "image", "json"]


class MetricRecord(BaseModel):
    """One logged value."""

    model_config = ConfigDict(extra="ignore")

    name: str = Field(min_length=1, max_length=255, pattern=r"^[^\x00]*$")
    type: MetricType = "scalar"
    value: Any = None
    step: int | None = Field(default=None, ge=-MAX_INTEGER, le=MAX_INTEGER)
    epoch: int | None = Field(default=None, ge=-MAX_INTEGER, le=MAX_INTEGER)
    time: float | None = Field(
        default=None, ge=0, le=_YEAR_9999, description="Seconds since 1970; absent: now"
    )


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


class MetricRead(BaseModel):
    """All values of a metric in the order in which they were logged."""

    name: str
    type: str
    last: Any
    min: float | None = None
    max: float | None = None
    points: list[MetricPoint]


class MetricList(BaseModel):
    """The metrics of a run's current attempt."""

    items: list[MetricRead]
