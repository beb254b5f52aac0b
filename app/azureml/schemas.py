"""Bodies that the ``azureml-core`` package sends, as far as they are used here.

Seen in the traffic of the real package (1.61); whatever else a version sends is left aside.
"""

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints
from pydantic.alias_generators import to_camel

from app.kernel.names import ThingName

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


class ChildRunSent(RunPatch):
    """A new run below another one, or changes to a run, whichever it turns out to be."""

    run_id: str | None = Field(default=None, max_length=256)
    parent_run_id: str | None = Field(default=None, max_length=256)
    name: str | None = Field(default=None, max_length=256)


class ChildRunsSent(Sent):
    """Several at once."""

    runs: list[ChildRunSent] = Field(default=[], max_length=200)


class RunEventSent(Sent):
    """What the client wants to be known, such as an error of the script's."""

    name: str = Field(default="", max_length=255)
    data: dict[str, Any] | None = None


class RunEventsSent(Sent):
    """Several at once."""

    events: list[RunEventSent] = Field(default=[], max_length=200)


class RunQuery(Sent):
    """Which runs; in OData's language, of which the package's own sentences are understood."""

    filter: str | None = Field(default=None, max_length=10_000)


class ArtifactPath(Sent):
    """A file that is going to be uploaded."""

    path: str = Field(min_length=1, max_length=5000)


class ArtifactsSent(Sent):
    """Files that are going to be uploaded."""

    paths: list[ArtifactPath] = Field(default=[], max_length=1000)


class MetricQuery(Sent):
    """Which values of a metric."""

    metric_name: str = Field(min_length=1, max_length=255)
    start_time: AwareDatetime | None = None
    end_time: AwareDatetime | None = None


class AssetArtifact(Sent):
    """Files that a model is made of: one, or all below a folder."""

    id: str | None = Field(default=None, max_length=6000)
    prefix: str | None = Field(default=None, max_length=6000)


class AssetSent(Sent):
    """The files of a model."""

    name: str = Field(default="", max_length=255)
    artifacts: list[AssetArtifact] = Field(default=[], max_length=100)


class ModelResources(Sent):
    """What one serving process may use."""

    cpu: float | None = None
    memory_in_gb: float | None = Field(default=None, alias="memoryInGB")
    gpu: int | None = None


class ModelSent(Sent):
    """A new version of a model."""

    name: ThingName
    url: str = Field(max_length=8000)
    description: str | None = None
    framework: str | None = None
    framework_version: str | None = None
    kv_tags: dict[str, Any] | None = None
    properties: dict[str, Any] | None = None
    resource_requirements: ModelResources | None = None


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
