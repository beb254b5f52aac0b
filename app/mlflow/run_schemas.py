"""Bodies of MLflow's calls about runs, as far as they are used here."""

from pydantic import Field, ValidationInfo, field_validator, model_validator

from app.mlflow.refusals import refusal
from app.mlflow.schemas import (
    MAX_ENTITIES,
    MAX_RESULTS,
    Body,
    FirstTagSent,
    Key,
    Milliseconds,
    ParamSent,
    RunName,
    RunStatus,
    Sent,
    Step,
    TagSent,
    Text,
    ViewType,
)

MAX_METRICS = 1000
MAX_PARAMS_OR_TAGS = 100


class MetricSent(Sent):
    """One value of a metric, perhaps also of a logged model on a dataset."""

    key: Key
    value: float
    timestamp: Milliseconds
    step: Step = 0
    model_id: str | None = Field(default=None, max_length=100)
    dataset_name: Text = Field(default="", max_length=500)
    dataset_digest: Text = Field(default="", max_length=36)


class OfRun(Sent):
    """A call about a run, under its present or its former field name."""

    run_id: str | None = Field(default=None, max_length=256)
    run_uuid: str | None = Field(default=None, max_length=256)

    @property
    def run(self) -> str:
        """The id of the run; empty when none was named."""
        return self.run_id or self.run_uuid or ""


class RunCreate(Body):
    """A new run."""

    experiment_id: str = Field(default="0", max_length=64)
    user_id: str = Field(default="", max_length=256)
    run_name: RunName = ""
    start_time: Milliseconds | None = None
    tags: list[FirstTagSent] = Field(default=[], max_length=MAX_ENTITIES)


class RunUpdate(OfRun, Body):
    """A change of a run's state, end or name."""

    status: RunStatus | None = None
    end_time: Milliseconds | None = None
    run_name: RunName | None = None


class MetricLog(OfRun, MetricSent):
    """One value of a metric of a run."""


class ParamLog(OfRun, ParamSent):
    """One parameter of a run."""


class TagSet(OfRun, TagSent):
    """One tag of a run."""


class TagDelete(OfRun):
    """The tag that is to go; our own API may have set it, under any key."""

    key: str = Field(min_length=1, max_length=250)


class BatchLog(OfRun, Body):
    """Many at once."""

    metrics: list[MetricSent] = Field(default=[])
    params: list[ParamSent] = Field(default=[])
    tags: list[TagSent] = Field(default=[])

    @field_validator("metrics", "params", "tags")
    @classmethod
    def _not_too_many(cls, found: list[Sent], info: ValidationInfo) -> list[Sent]:
        name = str(info.field_name)
        _check_batch(name, len(found), MAX_METRICS if name == "metrics" else MAX_PARAMS_OR_TAGS)
        return found

    @model_validator(mode="after")
    def _not_too_many_together(self) -> "BatchLog":
        count = len(self.metrics) + len(self.params) + len(self.tags)
        _check_batch("metrics, params, and tags", count, MAX_ENTITIES)
        return self


def _check_batch(what: str, count: int, most: int) -> None:
    if count > most:
        raise refusal(
            f"A batch logging request can contain at most {most} {what}. Got {count} {what}. "
            f"Please split up {what} across multiple requests and try again."
        )


class DatasetSent(Body):
    """A dataset as a client describes it."""

    name: str = Field(min_length=1, max_length=500)
    digest: str = Field(min_length=1, max_length=36)
    source_type: str = Field(default="", max_length=500)
    source: str = Field(default="", max_length=65_535)
    schema_: str | None = Field(default=None, alias="schema", max_length=1_048_575)
    profile: str | None = Field(default=None, max_length=4_000_000)


class InputTagSent(Body):
    """A tag of an input."""

    key: str = Field(min_length=1, max_length=255)
    value: str = Field(default="", max_length=500)


class DatasetInputSent(Body):
    """A dataset that the run has read."""

    tags: list[InputTagSent] = Field(default=[], max_length=100)
    dataset: DatasetSent


class ModelLinkSent(Sent):
    """A logged model that the run has read or made."""

    model_id: str = Field(min_length=1, max_length=100)
    step: Step = 0


class InputsLog(OfRun, Body):
    """What a run has read."""

    datasets: list[DatasetInputSent] = Field(default=[], max_length=1000)
    models: list[ModelLinkSent] = Field(default=[], max_length=1000)


class OutputsLog(OfRun):
    """What a run has made."""

    models: list[ModelLinkSent] = Field(max_length=1000)


class ModelLog(OfRun):
    """What MLflow's clients before version 3 tell about a model that they have uploaded."""

    model_json: str = Field(max_length=1_000_000)


class RunSearch(Body):
    """A search for runs."""

    experiment_ids: list[str] = Field(default=[], max_length=1000)
    filter: str = ""
    run_view_type: ViewType = "ACTIVE_ONLY"
    max_results: int = Field(default=1000, ge=1, le=MAX_RESULTS)
    order_by: list[str] = Field(default=[], max_length=20)
    page_token: str = ""
