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
from app.kernel.names import Tags
from app.kernel.tags import TagChanges

MAX_FILES = 50_000
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


class ModelVersionCreate(ModelDescription):
    """A new version: from a path of a run's files, or from blobs that were sent."""

    run_id: str | None = Field(default=None, max_length=256)
    path: str | None = Field(
        default=None, max_length=4000, examples=["outputs/model"], description="In the run's files"
    )
    files: list[ModelFile] | None = Field(default=None, min_length=1, max_length=MAX_FILES)

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


class Lineage(BaseModel):
    """Where the model came from; absent members are not known."""

    run_id: str | None = None
    experiment_name: str | None = None
    path: str | None = None
    snapshot_id: str | None = None
    image_hash: str | None = None
    dataset_versions: list[LineageDataset] = []


class ModelRead(BaseModel):
    """A named model."""

    model_config = ConfigDict(from_attributes=True)

    name: str
    description: str
    tags: dict[str, str | None]
    latest_version: int = Field(description="0 when all versions were deleted before any was kept")
    created_at: datetime
    updated_at: datetime


class ModelVersionRead(BaseModel):
    """One immutable version of a model."""

    name: str
    version: int
    id: str
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
    stage: str = Field(description="None, Staging, Production or Archived; set through MLflow")
    created_by: str
    created_at: datetime


def parse_signature(document: dict[str, Any] | None) -> SignatureRead | None:
    """The signature as the API shows it, of what is stored."""
    return None if document is None else SignatureRead.model_validate(document)
