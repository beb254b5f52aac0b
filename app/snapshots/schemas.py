"""Source snapshots as the API shows them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from app.blobs.schemas import Sha256


class SnapshotFile(BaseModel):
    """One file of a source folder."""

    model_config = ConfigDict(extra="forbid")

    path: str = Field(max_length=4000)
    sha256: Sha256
    size_bytes: int = Field(ge=0)
    executable: bool = False


class SnapshotCreate(BaseModel):
    """A source folder whose bytes were sent as blobs."""

    model_config = ConfigDict(extra="forbid")

    files: list[SnapshotFile] = Field(min_length=1, max_length=20_000)


class SnapshotRead(BaseModel):
    """A snapshot."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    sha256: str = Field(description="Hash of the canonical list of files")
    file_count: int
    size_bytes: int
    created_at: datetime
