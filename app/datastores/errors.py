"""What can be wrong with datastores."""

from app.kernel.errors import Conflict, Invalid, NotFound


class DatastoreNotFound(NotFound):
    """The workspace has no such datastore."""

    code = "datastore_not_found"


class DatastoreFileNotFound(NotFound):
    """The datastore has no such file."""

    code = "datastore_file_not_found"


class DatastoreRefused(Invalid):
    """The place may not be used, or its credentials cannot be."""

    code = "datastore_refused"


class NotWritable(Conflict):
    """Nothing can be written to the datastore."""

    code = "datastore_not_writable"
