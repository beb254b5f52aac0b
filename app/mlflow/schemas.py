"""Bodies of MLflow's tracking calls, as far as they are used here.

Field names and limits are those of MLflow's REST API (its documentation, "REST API"); fields of
later versions are left aside. 64-bit numbers may come as numbers or as texts.
"""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from app.kernel.orm import MAX_INTEGER

MAX_METRICS = 1000
MAX_PARAMS_OR_TAGS = 100
MAX_ENTITIES = 1000
MAX_RESULTS = 50_000
YEAR_9999_MS = 253_370_764_800_000

Key = Annotated[str, StringConstraints(min_length=1, max_length=250)]
ParamValue = Annotated[str, StringConstraints(max_length=6000)]
TagValue = Annotated[str, StringConstraints(max_length=8000)]
Milliseconds = Annotated[int, Field(ge=0, le=YEAR_9999_MS)]
Int64 = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
RunStatus = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
ViewType = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]


class Sent(BaseModel):
    """Something that a client sends."""

    model_config = ConfigDict(extra="ignore")


class TagSent(Sent):
    """A tag."""

    key: Key
    value: TagValue = ""


class ParamSent(Sent):
    """A parameter."""

    key: Key
    value: ParamValue = ""


class MetricSent(Sent):
    """One value of a metric, perhaps also of a logged model on a dataset."""

    key: Key
    value: float
    timestamp: Milliseconds
    step: Int64 = 0
    model_id: str | None = Field(default=None, max_length=100)
    dataset_name: str = Field(default="", max_length=500)
    dataset_digest: str = Field(default="", max_length=36)


class OfRun(Sent):
    """A call about a run, under its present or its former field name."""

    run_id: str = Field(default="", max_length=256)
    run_uuid: str = Field(default="", max_length=256)

    @property
    def run(self) -> str:
        """The id of the run; empty when none was named."""
        return self.run_id or self.run_uuid


class RunCreate(Sent):
    """A new run."""

    experiment_id: str = Field(default="0", max_length=64)
    user_id: str = Field(default="", max_length=256)
    run_name: str = Field(default="", max_length=250)
    start_time: Milliseconds | None = None
    tags: list[TagSent] = Field(default=[], max_length=MAX_ENTITIES)


class RunUpdate(OfRun):
    """A change of a run's state, end or name."""

    status: RunStatus | None = None
    end_time: Milliseconds | None = None
    run_name: str | None = Field(default=None, max_length=250)


class MetricLog(OfRun, MetricSent):
    """One value of a metric of a run."""


class ParamLog(OfRun, ParamSent):
    """One parameter of a run."""


class TagSet(OfRun, TagSent):
    """One tag of a run."""


class TagDelete(OfRun):
    """The tag that is to go."""

    key: Key


class BatchLog(OfRun):
    """Many at once."""

    metrics: list[MetricSent] = Field(default=[], max_length=MAX_METRICS)
    params: list[ParamSent] = Field(default=[], max_length=MAX_PARAMS_OR_TAGS)
    tags: list[TagSent] = Field(default=[], max_length=MAX_PARAMS_OR_TAGS)


class DatasetSent(Sent):
    """A dataset as a client describes it."""

    name: str = Field(min_length=1, max_length=500)
    digest: str = Field(min_length=1, max_length=36)
    source_type: str = Field(default="", max_length=500)
    source: str = Field(default="", max_length=65_535)
    schema_: str | None = Field(default=None, alias="schema", max_length=1_048_575)
    profile: str | None = Field(default=None, max_length=4_000_000)


class InputTagSent(Sent):
    """A tag of an input."""

    key: str = Field(min_length=1, max_length=255)
    value: str = Field(default="", max_length=500)


class DatasetInputSent(Sent):
    """A dataset that the run has read."""

    tags: list[InputTagSent] = Field(default=[], max_length=100)
    dataset: DatasetSent


class ModelLinkSent(Sent):
    """A logged model that the run has read or made."""

    model_id: str = Field(min_length=1, max_length=100)
    step: Int64 = 0


class InputsLog(OfRun):
    """What a run has read."""

    datasets: list[DatasetInputSent] = Field(default=[], max_length=1000)
    models: list[ModelLinkSent] = Field(default=[], max_length=1000)


class OutputsLog(OfRun):
    """What a run has made."""

    models: list[ModelLinkSent] = Field(default=[], max_length=1000)


class ModelLog(OfRun):
    """What MLflow's clients before version 3 tell about a model that they have uploaded."""

    model_json: str = Field(max_length=1_000_000)


class RunSearch(Sent):
    """A search for runs."""

    experiment_ids: list[str] = Field(default=[], max_length=1000)
    filter: str = ""
    run_view_type: ViewType = "ACTIVE_ONLY"
    max_results: int = Field(default=1000, ge=1, le=MAX_RESULTS)
    order_by: list[str] = Field(default=[], max_length=20)
    page_token: str = ""


class ExperimentCreate(Sent):
    """A new experiment."""

    name: str = Field(min_length=1, max_length=500)
    artifact_location: str = Field(default="", max_length=2048)
    tags: list[TagSent] = Field(default=[], max_length=MAX_ENTITIES)


class OfExperiment(Sent):
    """A call about an experiment."""

    experiment_id: str = Field(min_length=1, max_length=64)


class ExperimentUpdate(OfExperiment):
    """A new name."""

    new_name: str = Field(min_length=1, max_length=500)


class ExperimentTagSet(OfExperiment):
    """One tag of an experiment."""

    key: Key
    value: str = Field(default="", max_length=20_000)


class ExperimentTagDelete(OfExperiment):
    """The tag that is to go."""

    key: Key


class ExperimentSearch(Sent):
    """A search for experiments."""

    filter: str = ""
    view_type: ViewType = "ACTIVE_ONLY"
    max_results: int = Field(default=1000, ge=1, le=MAX_RESULTS)
    order_by: list[str] = Field(default=[], max_length=20)
    page_token: str = ""
