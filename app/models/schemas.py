"""Models as the API takes and shows them."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import PydanticCustomError

from app.blobs.schemas import Sha256
from app.kernel.names import Tags, ThingName
from app.kernel.tags import TagChanges

MAX_FILES = 50_000
VERSION_PATTERN = r"^([1-9][0-9]{0,8}|[A-Za-z_-][A-Za-z0-9_-]{0,254})$"
"""A number, ``latest`` or an alias."""


def _number_or_name(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


VersionName = Annotated[
    str,
    BeforeValidator(_number_or_name, json_schema_input_type=int | Literal["latest"] | str),
    StringConstraints(pattern=VERSION_PATTERN),
]
"""How a request names a version: 3, "3", "latest" or "champion"."""
VersionText = Annotated[str, StringConstraints(max_length=50, pattern=r"^[A-Za-z0-9.+_-]*$")]


def _plain_name(value: object) -> object:
    """The v1 client's names ("TensorFlow", "ScikitLearn") mean the same as the plain ones."""
    if not isinstance(value, str):
        return value
    return {"scikitlearn": "scikit-learn"}.get(value.lower(), value.lower())


Framework = Annotated[
    Literal["tensorflow", "onnx", "scikit-learn", "custom"], BeforeValidator(_plain_name)
]


class ResourceConfiguration(BaseModel):
    """What one serving process may use."""

    model_config = ConfigDict(extra="forbid")

    cpu: float = Field(default=1.0, gt=0, le=1024, description="Cores")
    memory_gb: float = Field(default=2.0, gt=0, le=65536)
    gpu: int = Field(default=0, ge=0, le=64)


class ModelFile(BaseModel):
    """One file of a model version."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(min_length=1, max_length=4000)
    sha256: Sha256
    size_bytes: int = Field(ge=0)


class ModelDescription(BaseModel):
    """What is said about a version besides its files."""

    model_config = ConfigDict(extra="forbid")

    framework: Framework = "tensorflow"
    framework_version: VersionText = Field(default="", examples=["2.15.1"])
    description: str = Field(default="", max_length=5000)
    tags: Tags = {}
    properties: Tags = {}
    resource_configuration: ResourceConfiguration = ResourceConfiguration()


class ParentNamed(BaseModel):
    """A model version, by any of its names."""

    model_config = ConfigDict(extra="forbid")

    model: ThingName
    version: VersionName


class ModelImport(ModelDescription):
    """A new version from an address."""

    url: str = Field(
        min_length=1,
        max_length=4096,
        description="An archive (zip, tar, tar.gz), or one file: .keras, .h5, .onnx",
        examples=["https://models.example.com/digits.zip"],
    )
    sha256: Sha256 | None = Field(default=None, description="Of what lies there, if it is known")


class ModelVersionCreate(ModelDescription):
    """A new version: from a path of a run's files, or from blobs that were sent."""

    run_id: str | None = Field(default=None, max_length=256)
    path: str | None = Field(
        default=None, max_length=4000, examples=["outputs/model"], description="In the run's files"
    )
    files: list[ModelFile] | None = Field(default=None, min_length=1, max_length=MAX_FILES)
    parent: ParentNamed | None = Field(
        default=None, description="The version that this one was made from, for its lineage"
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if (self.path is None) == (self.files is None):
            raise PydanticCustomError(
                "model_source", "Give either run_id and path, or files whose blobs were sent."
            )
        return self


class ModelVersionUpdate(BaseModel):
    """What can be changed; properties can only be added, a tag of null is removed."""

    model_config = ConfigDict(extra="forbid")

    description: str | None = Field(default=None, max_length=5000)
    tags: TagChanges = {}
    properties: Tags = {}


class TensorRead(BaseModel):
    """One named input or output."""

    name: str = Field(max_length=1000)
    dtype: str = Field(max_length=20)
    shape: list[int] | None = Field(
        max_length=255, description="Sizes, -1 for any size; null when the rank is unknown"
    )


class SignatureRead(BaseModel):
    """What the model takes and gives."""

    signature_name: str = Field(max_length=1000)
    inputs: list[TensorRead] = Field(max_length=10_000)
    outputs: list[TensorRead] = Field(max_length=10_000)


class LineageDataset(BaseModel):
    """A dataset version that the run read."""

    name: str = Field(description="Name of the run's input")
    dataset: str
    version: int


class LineageParent(BaseModel):
    """The model version that this one was made from."""

    model: str
    version: int


class Lineage(BaseModel):
    """Where the model came from; absent members are not known."""

    run_id: str | None = None
    experiment_name: str | None = None
    path: str | None = None
    snapshot_id: str | None = None
    image_hash: str | None = None
    dataset_versions: list[LineageDataset] = []
    parent: LineageParent | None = Field(
        default=None, description="Such as the version that was trained further, or copied"
    )


class ModelUpdate(BaseModel):
    """What can be changed; a tag of null is removed."""

    model_config = ConfigDict(extra="forbid")

    description: str | None = Field(default=None, max_length=5000)
    tags: TagChanges = {}


class AliasPut(BaseModel):
    """Where an alias is to point."""

    model_config = ConfigDict(extra="forbid")

    version: VersionName = Field(description="A number, latest, or another alias")


class AliasRead(BaseModel):
    """A name that points to one version."""

    alias: str
    version: int


class ModelRead(BaseModel):
    """A named model."""

    name: str
    description: str
    tags: dict[str, str | None]
    latest_version: int = Field(description="0 when all versions were deleted before any was kept")
    aliases: dict[str, int] = Field(description="Numbers of versions by alias")
    created_at: datetime
    updated_at: datetime


Tolerance = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class SamplePut(BaseModel):
    """An input of a version and its answer: nested lists by name, as predictions have them."""

    model_config = ConfigDict(extra="forbid")

    inputs: dict[str, Any] = Field(min_length=1, examples=[{"pixels": [[0.0, 1.0]]}])
    outputs: dict[str, Any] = Field(min_length=1, examples=[{"scores": [[0.25, 0.75]]}])
    relative_tolerance: Tolerance = 0.001
    absolute_tolerance: Tolerance = 0.00001


class SampleRead(BaseModel):
    """What a version answers to one input.

    An answer matches when it differs by at most absolute + relative · |stored|, number by number.
    """

    model_config = ConfigDict(from_attributes=True)

    inputs: dict[str, Any]
    outputs: dict[str, Any]
    relative_tolerance: float
    absolute_tolerance: float
    is_given: bool = Field(description="By a user; else the registry captured it")
    captured_at: datetime


class ModelCaptureError(BaseModel):
    """Why there is no captured sample."""

    code: str
    message: str
    last_lines: list[str] = Field(default=[], description="The last of what loading it printed")


class ModelCaptureRead(BaseModel):
    """The loading of a new version in a node of its own, for its signature and a sample."""

    model_config = ConfigDict(from_attributes=True)

    state: str = Field(description="Pending, Running, Captured or Failed; more may come")
    error: ModelCaptureError | None = Field(
        description="With Failed: why; the version stays. Before: reconcile_failed, when looks at "
        "it end with an error and are tried again"
    )
    runtime: str = Field(description="What loaded it", examples=["TensorFlow 2.15.1"])
    started_at: datetime | None
    ended_at: datetime | None


class DamagedFile(BaseModel):
    """A file whose bytes are not those that were registered."""

    path: str
    sha256: str = Field(description="As it was registered")
    problem: str


class Verification(BaseModel):
    """What reading all files of a version again has shown."""

    state: Literal["intact", "damaged"]
    verified_at: datetime
    files_count: int
    size_bytes: int
    damaged_count: int
    damaged: list[DamagedFile] = Field(description="The first hundred")


class ModelVersionRead(BaseModel):
    """One immutable version of a model."""

    name: str
    version: int
    id: str
    aliases: list[str] = Field(description="Names that point to it, such as champion")
    description: str
    tags: dict[str, str | None]
    properties: dict[str, str]
    framework: str
    framework_version: str
    resource_configuration: ResourceConfiguration
    kind: str = Field(description="saved_model, keras, h5, tf1_checkpoint, tf2_checkpoint, …")
    is_deployable: bool = Field(description="Whether it can be deployed without code")
    not_deployable_reason: str = Field(description="Why not, in words; empty when it can")
    files_count: int
    size_bytes: int
    lineage: Lineage
    signature_state: str = Field(description="Pending, Ready or Unavailable; more may come")
    signature_reason: str = ""
    signature: SignatureRead | None
    capture: ModelCaptureRead | None = Field(
        description="How its sample was captured; null: nobody tries to"
    )
    verification: Verification | None = Field(description="The last one; null: never verified")
    stage: str = Field(description="None, Staging, Production or Archived; set through MLflow")
    created_by: str
    created_at: datetime


class TensorDifference(BaseModel):
    """An input or output that is not the same; null: there is none of this name."""

    side: Literal["input", "output"]
    name: str
    left: TensorRead | None
    right: TensorRead | None


class MetricDifference(BaseModel):
    """The last value of a metric of the versions' runs; null: it was not logged."""

    name: str
    left: float | None
    right: float | None
    change: float | None = Field(description="right - left")


class Difference(BaseModel):
    """Something that is not the same; null: it is not there."""

    name: str
    left: Any
    right: Any


class FileChanges(BaseModel):
    """Files by path, at most a hundred of each kind."""

    added: list[str]
    removed: list[str]
    changed: list[str]
    same_count: int
    is_cut: bool


class VersionComparison(BaseModel):
    """Two versions side by side; lists have what differs, metrics all."""

    left: ModelVersionRead
    right: ModelVersionRead
    is_same_files: bool
    is_same_signature: bool
    signature: list[TensorDifference]
    metrics: list[MetricDifference]
    size_difference_bytes: int = Field(description="right - left")
    files: FileChanges
    tags: list[Difference]
    properties: list[Difference]
    lineage: list[Difference]
    about: list[Difference] = Field(description="Kind, framework, whether it can be deployed, …")


def parse_signature(document: dict[str, Any] | None) -> SignatureRead | None:
    """The signature as the API shows it, of what is stored."""
    return None if document is None else SignatureRead.model_validate(document)
