"""Errors of MLflow's protocol: each has one of MLflow's own codes."""

from typing import ClassVar

from app.kernel.errors import DomainError


class MlflowError(DomainError):
    """An error with a code of MLflow's."""

    error_code: ClassVar[str]

    def __init__(self, detail: str) -> None:
        super().__init__(detail, extensions={"error_code": self.error_code})


class InvalidParameter(MlflowError):
    """Something in the request cannot be."""

    status = 400
    error_code = "INVALID_PARAMETER_VALUE"


class NoSuchResource(MlflowError):
    """It is not in this workspace, or not the caller's to see."""

    status = 404
    error_code = "RESOURCE_DOES_NOT_EXIST"


class ResourceExists(MlflowError):
    """The name is taken."""

    status = 400
    error_code = "RESOURCE_ALREADY_EXISTS"


class NoPermission(MlflowError):
    """The token is good, but not for this."""

    status = 403
    error_code = "PERMISSION_DENIED"


class NoSuchEndpoint(MlflowError):
    """This part of the protocol is not served."""

    status = 404
    error_code = "ENDPOINT_NOT_FOUND"


class FileExists(MlflowError):
    """The file is not one that MLflow may replace."""

    status = 409
    error_code = "RESOURCE_CONFLICT"


class NotImplementedHere(MlflowError):
    """MLflow's servers may offer it; this one does not."""

    status = 501
    error_code = "NOT_IMPLEMENTED"
