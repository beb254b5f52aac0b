"""Uploads as the API shows them."""

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from app.blobs.schemas import Sha256
from app.kernel.orm import MAX_INTEGER


class UploadCreate(BaseModel):
    """A file that will be sent in pieces."""

    model_config = ConfigDict(extra="forbid")

    size_bytes: int = Field(ge=0, le=MAX_INTEGER, description="Size of the whole file")
    sha256: Sha256 | None = Field(
        default=None,
        description="Hash of the whole file: checked at the end; nothing is sent when the"
        " workspace has it already",
    )


class UploadRead(BaseModel):
    """How far an upload is."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    size_bytes: int
    offset_bytes: int = Field(description="Where the next piece begins")
    sha256: str | None = Field(description="As announced, or as found at the end")
    completed_at: datetime | None = Field(description="Since when the bytes are a blob")
    created_at: datetime
    updated_at: datetime
