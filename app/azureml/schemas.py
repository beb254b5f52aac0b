"""Bodies that the ``azureml-core`` package sends, as far as they are used here.

Seen in the traffic of the real package (1.61); whatever else a version sends is left aside.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

MAX_STEP = 2**31 - 1


class Sent(BaseModel):
    """Something that the package sends: camelCase names, more fields than are used."""

    model_config = ConfigDict(extra="ignore", alias_generator=to_camel, populate_by_name=True)


class RunPatch(Sent):
    """Changes to a run; a ``status`` in it is left aside: the exit code of the script decides."""

    display_name: str | None = None
    description: str | None = None
    tags: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None


class RunEventSent(Sent):
    """What the client wants to be known, such as an error of the script's."""

    name: str = Field(default="", max_length=255)
    data: dict[str, Any] | None = None


class MetricProperties(Sent):
    """How a metric is to be shown."""

    ux_metric_type: str = "azureml.v1.scalar"


class MetricValue(Sent):
    """One row of a metric."""

    metric_id: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
    created_utc: datetime | None = None
    step: int | None = Field(default=None, ge=-MAX_STEP, le=MAX_STEP)
    data: dict[str, Any] = {}


class MetricSent(Sent):
    """One metric with the rows of one call of the script."""

    name: Annotated[str, StringConstraints(pattern=r"^[^\x00]{1,255}$")]
    value: list[MetricValue] = []
    properties: MetricProperties = MetricProperties()


class MetricBatchSent(Sent):
    """Metrics of many calls; each is checked on its own, so a bad one holds up no other."""

    values: list[dict[str, Any]] = []
