"""What can be wrong with models."""

from app.kernel.errors import Conflict, Invalid, NotFound, TooLarge


class ModelNotFound(NotFound):
    """The workspace has no such model."""

    code = "model_not_found"

    def __init__(self, name: str) -> None:
        super().__init__(f"There is no model {name!r} in this workspace.")


class ModelVersionNotFound(NotFound):
    """The model has no such version."""

    code = "model_version_not_found"

    def __init__(self, name: str, version: str) -> None:
        what = "version" if version.isdecimal() else "version or alias"
        super().__init__(f"Model {name!r} has no {what} {version}.")


class AliasNotFound(NotFound):
    """The model has no such alias."""

    code = "model_alias_not_found"


class AliasReserved(Invalid):
    """The name means something else already."""

    code = "model_alias_reserved"
    title = "The name is reserved"


class SampleNotFound(NotFound):
    """The version has no sample."""

    code = "model_sample_not_found"


class ModelFileNotFound(NotFound):
    """The version has no such file."""

    code = "model_file_not_found"


class ModelInUse(Conflict):
    """A deployment serves it."""

    code = "model_in_use"
    title = "Model in use"


class PropertyImmutable(Conflict):
    """Properties may be added and never changed."""

    code = "property_immutable"
    title = "Properties never change"


class ModelArchiveInvalid(Invalid):
    """The archive is malformed or unsafe."""

    code = "archive_invalid"
    title = "The archive cannot be used"


class ModelArchiveTooLarge(TooLarge):
    """The archive is over a limit."""

    code = "archive_too_large"
