"""Blobs as the API shows them."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

SHA256_PATTERN = r"^[0-9a-f]{64}$"
Sha256 = Annotated[str, StringConstraints(pattern=SHA256_PATTERN)]


class BlobQuery(BaseModel):
    """Digests to ask about."""

    model_config = ConfigDict(extra="forbid")

    sha256: list[Sha256] = Field(max_length=50_000)


class BlobsMissingRead(BaseModel):
    """Digests whose bytes must be sent."""

    missing: list[str]


class BlobRead(BaseModel):
    """A stored blob."""

    sha256: str
    size_bytes: int
