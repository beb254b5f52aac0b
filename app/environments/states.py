"""States of an image."""

from enum import StrEnum


class ImageState(StrEnum):
    """Queued → Building → Ready or Failed; Deleted once its files are gone or going."""

    QUEUED = "Queued"
    BUILDING = "Building"
    READY = "Ready"
    FAILED = "Failed"
    DELETED = "Deleted"
