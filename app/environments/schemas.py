"""Environments and images as the API shows them."""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from app.environments.spec import EnvironmentSpec
from app.environments.states import ImageState


class EnvironmentPut(EnvironmentSpec):
    """A named environment: a specification and what it is for."""

    description: str = Field(default="", max_length=5000)


class EnvironmentRead(BaseModel):
    """A named environment."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    name: str
    description: str
    spec: EnvironmentSpec
    created_at: datetime
    updated_at: datetime


class ImageError(BaseModel):
    """Why an image could not be built."""

    code: str = Field(
        description="reconcile_failed: looks at it end with an error, and are tried again"
    )
    message: str


class ImageSummary(BaseModel):
    """An image."""

    model_config = ConfigDict(from_attributes=True)

    hash: str = Field(validation_alias="id")
    state: ImageState
    error: ImageError | None
    size_bytes: int | None
    build_seconds: float | None
    build_number: int = Field(description="How many builds were begun")
    last_used_at: datetime
    created_at: datetime


class InputDifference(BaseModel):
    """An input that differs from the nearest earlier image."""

    model_config = ConfigDict(from_attributes=True)

    input: str
    added: list[str]
    removed: list[str]


class BuildReason(BaseModel):
    """Why the image was built although there were others."""

    nearest_hash: str
    differences: list[InputDifference]


class ImageRead(ImageSummary):
    """An image with its inputs and contents."""

    inputs: dict[str, Any] = Field(
        validation_alias="spec", description="What the hash is taken over"
    )
    resolved_to: str | None = Field(
        description="The image with the base's digest among its inputs, when its tag was looked up"
    )
    reference: str | None = Field(
        description="The container image: repository@digest in a registry, else the engine's id"
    )
    lock: str | None = Field(description="Pinned requirements; with hashes in virtual environments")
    packages: dict[str, str] = Field(description="What is installed: name and version")
    system_packages: dict[str, str] = Field(
        description="Debian packages that were asked for, and their versions"
    )
    built_because: BuildReason | None = Field(
        default=None, description="What differs from the nearest earlier image"
    )
