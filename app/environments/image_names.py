"""Names of container images, as the reference grammar of the distribution project has them."""

import re

from pydantic_core import PydanticCustomError

MAX_LENGTH = 255
_IMAGE = re.compile(
    r"^([A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?/)?"
    r"[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*(/[a-z0-9]+((\.|_{1,2}|-+)[a-z0-9]+)*)*"
    r"(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?(@sha256:[0-9a-f]{64})?$"
)


def canonical_image(text: str) -> str:
    """A container image by name, with a tag or a digest.

    Raises:
        PydanticCustomError: it is none.
    """
    name = text.strip()
    if len(name) > MAX_LENGTH or not _IMAGE.match(name):
        raise PydanticCustomError(
            "image_name_invalid",
            "This is no image such as 'python:3.11-slim' or 'host:5000/team/image@sha256:…'.",
        )
    return name


def split_image(name: str) -> tuple[str, str | None]:
    """Repository and tag of an image name; a digest stays with the repository."""
    if "@" in name:
        return name, None
    head, colon, tag = name.rpartition(":")
    return (head, tag) if colon and "/" not in tag else (name, "latest")


def repository_of(name: str) -> str:
    """An image's name without tag and digest."""
    return split_image(name.partition("@")[0])[0]


def digest_in(name: str) -> str | None:
    """The digest that an image's name ends with, if it does."""
    return name.partition("@")[2] or None
