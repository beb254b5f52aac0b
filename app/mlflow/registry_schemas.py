"""Bodies of MLflow's calls about the model registry and about logged models."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from app.mlflow.refusals import invalid_value, refusal
from app.mlflow.schemas import Body, ParamSent, Sent, TagSent, resolving


def _checked_name(name: str) -> str:
    if not name.strip():
        raise refusal("Missing value for required parameter 'name'.")
    if "/" in name or ":" in name:
        raise refusal(f"Invalid model name '{name}'. Names cannot contain '/' or ':'.")
    if name in (".", ".."):
        raise refusal(invalid_value("name", name, resolving(name)))
    return name


def _checked_flag(given: object) -> object:
    # Scripts send Python's words too.
    if isinstance(given, bool) or str(given).lower() in ("true", "false"):
        return given
    raise refusal(invalid_value("archive_existing_versions", given, "it has to be true or false"))


def _checked_version(version: str) -> str:
    if not _VERSION.fullmatch(version):
        raise refusal(f"Parameter 'version' must be an integer, got '{version}'.")
    return version


def _checked_alias(alias: str) -> str:
    if not _ALIAS.fullmatch(alias):
        raise refusal(
            f"Invalid alias name: '{alias}'. Names may only contain alphanumerics, underscores "
            "(_), and dashes (-)."
        )
    return alias


_VERSION = re.compile(r"-?[0-9]{1,40}", re.ASCII)
_ALIAS = re.compile(r"[\w\-]+")
ModelName = Annotated[
    str, StringConstraints(min_length=1, max_length=256), AfterValidator(_checked_name)
]
VersionNumber = Annotated[str, StringConstraints(min_length=1), AfterValidator(_checked_version)]
Alias = Annotated[
    str, StringConstraints(min_length=1, max_length=255), AfterValidator(_checked_alias)
]
RegistryTagValue = Annotated[str, StringConstraints(max_length=100_000)]
Text = Annotated[str, StringConstraints(max_length=100_000)]
MAX_MODELS = 1000
MAX_VERSIONS = 200_000
LoggedStatus = Literal["LOGGED_MODEL_PENDING", "LOGGED_MODEL_READY", "LOGGED_MODEL_UPLOAD_FAILED"]


class RegistryTag(TagSent):
    """A tag of a registered model or version, which may be longer than those of runs."""

    value: RegistryTagValue = ""


class OfModel(Body):
    """A call about a registered model."""

    name: ModelName


class ModelCreate(OfModel):
    """A new registered model."""

    tags: list[RegistryTag] = Field(default=[], max_length=1000)
    description: Text = ""


class ModelRename(OfModel):
    """Another name."""

    new_name: ModelName


class ModelUpdate(OfModel):
    """Another description."""

    description: Text = ""


class ModelTagSet(OfModel, RegistryTag):
    """A tag of a registered model."""


class ModelTagDelete(OfModel):
    """The tag that is to go."""

    key: str = Field(min_length=1, max_length=250)


class LatestAsked(OfModel):
    """Of which stages the latest versions are wanted."""

    stages: list[str] = Field(default=[], max_length=10)


class AliasSet(OfModel):
    """A name for a version."""

    alias: Alias
    version: VersionNumber


class AliasDelete(OfModel):
    """The name that is to go."""

    alias: Alias


class VersionCreate(OfModel):
    """A new version, made of artifacts at an address."""

    source: str = Field(min_length=1, max_length=5000)
    run_id: str = Field(default="", max_length=256)
    tags: list[RegistryTag] = Field(default=[], max_length=1000)
    run_link: str = Field(default="", max_length=2000)
    description: Text = ""
    model_id: str = Field(default="", max_length=100)


class OfVersion(OfModel):
    """A call about a version."""

    version: VersionNumber


class VersionUpdate(OfVersion):
    """Another description."""

    description: Text = ""


class VersionTagSet(OfVersion, RegistryTag):
    """A tag of a version."""


class VersionTagDelete(OfVersion):
    """The tag that is to go."""

    key: str = Field(min_length=1, max_length=250)


class StageChange(OfVersion):
    """Another stage."""

    stage: str = Field(max_length=50)
    archive_existing_versions: Annotated[bool, BeforeValidator(_checked_flag)] = False


class RegistrySearch(Body):
    """A search for registered models or versions."""

    filter: str = ""
    max_results: int = Field(default=100, ge=1, le=MAX_VERSIONS)
    order_by: list[str] = Field(default=[], max_length=20)
    page_token: str = ""


class ModelSearch(RegistrySearch):
    """A search for registered models."""

    max_results: int = Field(default=100, ge=1, le=MAX_MODELS)


class LoggedModelCreate(Sent):
    """A new logged model."""

    experiment_id: str = Field(default="0", max_length=64)
    name: str = Field(default="", max_length=500)
    model_type: str = Field(default="", max_length=500)
    source_run_id: str = Field(default="", max_length=256)
    params: list[ParamSent] = Field(default=[], max_length=1000)
    tags: list[TagSent] = Field(default=[], max_length=1000)


class LoggedModelFinalize(Sent):
    """How its upload ended."""

    status: LoggedStatus


class LoggedModelTags(Sent):
    """Tags to set."""

    tags: list[TagSent] = Field(max_length=1000)


class LoggedModelParams(Sent):
    """Parameters to set."""

    params: list[ParamSent] = Field(max_length=1000)


class DatasetChosen(Sent):
    """On which dataset metrics must have been measured."""

    dataset_name: str = Field(max_length=500)
    dataset_digest: str = Field(default="", max_length=36)


class LoggedModelOrder(Sent):
    """One part of an order."""

    field_name: str = Field(max_length=500)
    ascending: bool = True
    dataset_name: str = Field(default="", max_length=500)
    dataset_digest: str = Field(default="", max_length=36)


class LoggedModelSearch(Sent):
    """A search for logged models."""

    experiment_ids: list[str] = Field(max_length=1000)
    filter: str = ""
    datasets: list[DatasetChosen] = Field(default=[], max_length=100)
    max_results: int = Field(default=100, ge=1, le=MAX_MODELS)
    order_by: list[LoggedModelOrder] = Field(default=[], max_length=20)
    page_token: str = ""
