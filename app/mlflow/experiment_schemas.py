"""Bodies of MLflow's calls about experiments, as far as they are used here."""

from pydantic import Field

from app.mlflow.schemas import MAX_ENTITIES, MAX_RESULTS, Body, Key, Sent, TagSent, ViewType


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

    experiment_ids: list[str] = Field(default=[])


class ExperimentSearch(Body):
    """A search for experiments."""

    filter: str = ""
    view_type: ViewType = "ACTIVE_ONLY"
    max_results: int = Field(default=1000, ge=1, le=MAX_RESULTS)
    order_by: list[str] = Field(default=[], max_length=20)
    page_token: str = ""
