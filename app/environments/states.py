"""States of an image."""

from enum import StrEnum


class ImageState(StrEnum):
    """Queued → Building → Ready or Failed; Deleted once its files are gone or going.

    Resolved is what becomes of an image whose base was a tag that had not been looked up: another
    image, whose hash has the base's digest in it, takes its place.
    """

    QUEUED = "Queued"
    BUILDING = "Building"
    READY = "Ready"
    FAILED = "Failed"
    DELETED = "Deleted"
    RESOLVED = "Resolved"
