"""What can be wrong with an upload in pieces."""

from app.kernel.errors import BadRequest, Conflict, Invalid, NotFound, TooManyRequests


class UploadNotFound(NotFound):
    """The workspace has no such upload, or it was given up long ago."""

    code = "upload_not_found"


class UploadOffsetMissing(BadRequest):
    """A piece came without saying where it belongs."""

    code = "upload_offset_missing"


class UploadOffsetMismatch(Conflict):
    """A piece does not begin where the bytes received so far end."""

    code = "upload_offset_mismatch"
    title = "The piece belongs elsewhere"


class UploadBusy(Conflict):
    """Another request is writing to this upload."""

    code = "upload_busy"
    title = "Somebody else is writing"
    retryable = True


class UploadComplete(Conflict):
    """All bytes are there; nothing can be added."""

    code = "upload_complete"


class UploadTooLong(Invalid):
    """More bytes came than were announced."""

    code = "upload_too_long"


class PieceDigestMismatch(Invalid):
    """A piece's bytes are not those of its Content-Digest; none of them were kept."""

    code = "digest_mismatch"
    title = "The digest does not match"


class TooManyUploads(Conflict):
    """The workspace has as many unfinished uploads, or bytes announced by them, as it may."""

    code = "too_many_uploads"
    title = "Too many unfinished uploads"


class TooManyUploadsOfCaller(TooManyRequests):
    """One token, or one run, has as many unfinished uploads as it may."""

    code = "too_many_uploads_of_caller"
    title = "Too many unfinished uploads"


class PartUnknown(NotFound):
    """An upload in parts has no part of this number."""

    code = "part_unknown"


class PartsMismatch(Invalid):
    """The parts that are here are not those that were named."""

    code = "parts_mismatch"
    title = "The parts do not match"


class PartMissing(PartsMismatch):
    """A part was not sent."""

    code = "part_missing"
    title = "A part is missing"
