"""Datasets as the API shows them."""

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, model_validator

from app.datasets.layout import Layout
from app.kernel.names import Tags, ThingName, TitleName
from app.kernel.tags import TagChanges

MAX_FILES = 10_000
Glob = Annotated[
    str,
    StringConstraints(min_length=1, max_length=1000, pattern=r"^[^!#\\\x00-\x1f][^\\\x00-\x1f]*$"),
]
Url = Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class DatasetSource(BaseModel):
    """One file by its web address."""

    model_config = ConfigDict(extra="forbid")

    url: Url
    path: str | None = Field(default=None, max_length=4000, description="Absent: by the layout")


class DatasetRegister(BaseModel):
    """Files to register under a name."""

    model_config = ConfigDict(extra="forbid")

    name: TitleName
    description: str = Field(default="", max_length=5000)
    tags: Tags = {}
    create_new_version: bool = Field(
        default=False, description="Make a new version even when the content is the same"
    )
    urls: list[Url] = Field(default=[], max_length=MAX_FILES)
    files: list[DatasetSource] = Field(default=[], max_length=MAX_FILES)
    datastore: ThingName | None = Field(
        default=None, description="Where paths are; absent: the default datastore"
    )
    paths: list[Glob] = Field(
        default=[],
        max_length=100,
        description="Files in a datastore: paths, folders, or patterns with *, ** and ?",
    )
    layout: Layout = "url"

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        if [bool(self.urls), bool(self.files), bool(self.paths)].count(True) != 1:
            raise ValueError("give either urls, files, or paths in a datastore, at least one")
        if self.datastore is not None and not self.paths:
            raise ValueError("a datastore needs paths")
        return self

    def pointer(self, index: int) -> str:
        """Where the address of a source stands."""
        return f"/urls/{index}" if self.urls else f"/files/{index}/url"

    def sources(self) -> list[tuple[str, str | None]]:
        """Addresses and wanted paths."""
        if self.urls:
            return [(url, None) for url in self.urls]
        return [(file.url, file.path) for file in self.files]


class DatasetUpdate(BaseModel):
    """A merge patch: absent fields stay as they are; null resets one, or removes a tag."""

    model_config = ConfigDict(extra="forbid")

    description: str | None = Field(default=None, max_length=5000)
    tags: TagChanges | None = None


class DatasetRead(BaseModel):
    """A dataset."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    description: str
    tags: dict[str, str | None]
    latest_version: int
    created_at: datetime
    updated_at: datetime


class MadeFromModel(BaseModel):
    """A model version that predictions are from."""

    name: str
    version: int


class MadeFromDataset(BaseModel):
    """A dataset version that was read."""

    dataset: str
    version: int


class DatasetLineage(BaseModel):
    """What a version was made from; empty when its files came from elsewhere."""

    batch_scoring_id: str | None = None
    deployment_id: str | None = Field(
        default=None, description="Whose captured predictions it holds"
    )
    run_id: str | None = None
    model: MadeFromModel | None = None
    dataset_versions: list[MadeFromDataset] = []


class DatasetVersionRead(BaseModel):
    """An immutable version of a dataset."""

    id: str
    name: str
    version: int
    description: str
    tags: dict[str, str | None]
    files_count: int
    size_bytes: int
    lineage: DatasetLineage
    created_at: datetime


class DatasetFileRead(BaseModel):
    """A file as a version pins it."""

    model_config = ConfigDict(from_attributes=True)

    path: str
    url: str
    size_bytes: int
    etag: str
    last_modified: str
    sha256: str


class RegistrationRead(BaseModel):
    """A registration that was asked for."""

    id: str
    name: str
    state: Literal["Pending", "Succeeded", "Failed"]
    version: int | None = Field(description="The version, once it succeeded")
    created_version: bool = Field(description="False when an identical version was there already")
    error: dict[str, object] | None
    created_at: datetime


class FileState(BaseModel):
    """What a source holds."""

    size_bytes: int
    etag: str
    last_modified: str
    sha256: str


class FileCheckRead(BaseModel):
    """How a file's source compares with what the version pins."""

    path: str
    url: str
    state: Literal["unchanged", "changed", "unreachable"]
    cached: bool = Field(description="Whether the pinned bytes are here")
    message: str
    expected: FileState
    found: FileState | None


class VersionCheckRead(BaseModel):
    """How a version's sources compare with what it pins."""

    name: str
    version: int
    state: Literal["unchanged", "changed", "unreachable"]
    files: list[FileCheckRead]
