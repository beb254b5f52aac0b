"""What can be wrong with uploaded bytes."""

from app.kernel.errors import Invalid, NotFound, TooLarge


class BlobNotFound(NotFound):
    """The workspace has no such bytes."""

    code = "blob_not_found"


class BlobDigestMismatch(Invalid):
    """The bytes are not those of the address."""

    code = "digest_mismatch"
    title = "The digest does not match"


class BlobTooLarge(TooLarge):
    """More bytes than one blob may have."""

    code = "blob_too_large"


class BlobsMissing(Invalid):
    """Bytes are named that the workspace does not have."""

    code = "blobs_missing"
    title = "Bytes are missing"
