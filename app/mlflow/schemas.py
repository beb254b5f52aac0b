"""Bodies of MLflow's tracking calls, as far as they are used here.

Field names and limits are those of MLflow's REST API (its documentation, "REST API"); fields of
later versions are left aside. 64-bit numbers may come as numbers or as texts, and words of a fixed
list as their numbers, as protocol buffers allow.
"""

import posixpath
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationInfo,
    field_validator,
    model_validator,
)

from app.kernel.orm import MAX_INTEGER
from app.mlflow.refusals import refusal, refused_value

MAX_METRICS = 1000
MAX_PARAMS_OR_TAGS = 100
MAX_ENTITIES = 1000
MAX_RESULTS = 50_000
YEAR_9999_MS = 253_370_764_800_000

_LONGEST_PARAM = 6000
_LONGEST_TAG = 8000
_KEY = re.compile(r"[/\w.\- :]*")
_Status = Literal["RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED"]
_View = Literal["ACTIVE_ONLY", "DELETED_ONLY", "ALL"]


def _numbered(words: Sequence[str]) -> BeforeValidator:
    """Take a word also by its number in protocol buffers, which begin at 1."""

    def read(given: Any) -> Any:
        is_number = isinstance(given, int) and 1 <= given <= len(words)
        return words[given - 1] if is_number else given

    return BeforeValidator(read)


@lru_cache(maxsize=4096)
def _checked_key(key: str) -> str:
    if not _KEY.fullmatch(key):
        reason = (
            ": Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), "
            "spaces ( ), colon(:) and slashes (/)."
        )
        raise refused_value(reason)
    # MLflow's servers may keep a key as a file.
    plain = posixpath.normpath(key)
    if plain != key or plain == "." or plain.startswith(("..", "/")):
        raise refused_value(resolving(plain))
    return key


def resolving(plain: str) -> str:
    """Why a name that is also another path cannot be.

    Args:
        plain: the other path.
    """
    return (
        ": Names may be treated as files in certain cases, and must not resolve to other names "
        f"when treated as such. This name would resolve to {plain!r}"
    )


Key = Annotated[str, StringConstraints(min_length=1, max_length=250), AfterValidator(_checked_key)]
# Over-long values are cut, as MLflow's servers do: a script does not fail for them.
# Null is a value that was left out, as in all of protocol buffers' JSON.
_Left = BeforeValidator(lambda value: "" if value is None else value)
_LeftStep = BeforeValidator(lambda value: 0 if value is None else value)
ParamValue = Annotated[str, _Left, AfterValidator(lambda value: value[:_LONGEST_PARAM])]
TagValue = Annotated[str, _Left, AfterValidator(lambda value: value[:_LONGEST_TAG])]
Milliseconds = Annotated[int, Field(ge=0, le=YEAR_9999_MS)]
Int64 = Annotated[int, Field(ge=-MAX_INTEGER, le=MAX_INTEGER)]
Step = Annotated[Int64, _LeftStep]
RunName = TagValue
"""A run's name is one of its tags as well, and clients send both."""
RunStatus = Annotated[_Status, _numbered(get_args(_Status))]
ViewType = Annotated[_View, _numbered(get_args(_View))]


class Sent(BaseModel):
    """Something that a client sends."""

    model_config = ConfigDict(extra="ignore")


class Body(Sent):
    """What is sent with a call; null is a field that was left out."""

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, sent: Any) -> Any:
        if isinstance(sent, dict):
            return {key: value for key, value in sent.items() if value is not None}
        return sent


class TagSent(Sent):
    """A tag."""

    key: Key
    value: TagValue = ""


class FirstTagSent(TagSent):
    """A tag that a run begins with; MLflow's servers look at keys only later."""

    key: str = Field(min_length=1, max_length=250)


class ParamSent(Sent):
    """A parameter."""

    key: Key
    value: ParamValue = ""


class MetricSent(Sent):
    """One value of a metric, perhaps also of a logged model on a dataset."""

    key: Key
    value: float
    timestamp: Milliseconds
    step: Step = 0
    model_id: str | None = Field(default=None, max_length=100)
    dataset_name: Annotated[str, _Left] = Field(default="", max_length=500)
    dataset_digest: Annotated[str, _Left] = Field(default="", max_length=36)


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


class BatchLog(OfRun):
    """Many at once."""

    metrics: list[MetricSent] = []
    params: list[ParamSent] = []
    tags: list[TagSent] = []

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


class ExperimentCreate(Body):
    """A new experiment."""

    name: str = Field(min_length=1, max_length=500)
    artifact_location: str = Field(default="", max_length=2048)
    tags: list[TagSent] = Field(default=[], max_length=MAX_ENTITIES)


class OfExperiment(Body):
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

    key: str = Field(min_length=1, max_length=250)


class DatasetSearch(Sent):
    """Of which experiments the datasets are wanted."""

    experiment_ids: list[str] = []


class ExperimentSearch(Body):
    """A search for experiments."""

    filter: str = ""
    view_type: ViewType = "ACTIVE_ONLY"
    max_results: int = Field(default=1000, ge=1, le=MAX_RESULTS)
    order_by: list[str] = Field(default=[], max_length=20)
    page_token: str = ""
