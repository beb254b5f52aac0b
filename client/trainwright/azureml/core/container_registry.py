"""Where a base image is."""

from dataclasses import dataclass


@dataclass
class ContainerRegistry:
    """A registry of images; credentials are the operator's to set up."""

    address: str | None = None
    username: str | None = None
    password: str | None = None
