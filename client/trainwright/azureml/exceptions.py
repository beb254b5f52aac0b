"""Errors by the names that notebooks catch."""

from collections.abc import Iterator
from contextlib import contextmanager

from trainwright.errors import ApiProblem, TrainwrightError


class AzureMLException(Exception):
    """Base of the errors of this package.

    Attributes:
        message: what happened, and what to do.
    """

    def __init__(self, exception_message: str = "") -> None:
        super().__init__(exception_message)
        self.message = exception_message


class UserErrorException(AzureMLException):
    """The call was wrong."""


class NotSupported(UserErrorException, NotImplementedError):
    """The call, or an argument, has no counterpart in Trainwright; the message says what to do."""


class ServiceException(AzureMLException):
    """The server refused.

    Attributes:
        status_code: of HTTP; None when there was no answer.
        code: stable code of the problem.
    """

    def __init__(
        self, exception_message: str = "", *, status_code: int | None = None, code: str = ""
    ) -> None:
        super().__init__(exception_message)
        self.status_code = status_code
        self.code = code


class ExperimentExecutionException(ServiceException):
    """A run was not accepted."""


class ActivityFailedException(AzureMLException):
    """A run ended without success."""


class RunEnvironmentException(AzureMLException):
    """The call needs to be inside of a run."""


class ProjectSystemException(ServiceException):
    """A workspace cannot be used."""


class WorkspaceException(ProjectSystemException):
    """A workspace cannot be used."""


class ComputeTargetException(ServiceException):
    """A compute target is not there, or cannot be used."""


class WebserviceException(ServiceException):
    """A web service, or a model, is not there, or cannot be used."""


class ModelNotFoundException(WebserviceException):
    """There is no such model."""


class AzureOnlyWarning(UserWarning):
    """An argument was left aside, because it only has a meaning inside of Azure."""


@contextmanager
def raised_as(kind: type[ServiceException]) -> Iterator[None]:
    """Give the server's refusals the name that the v1 SDK gave them."""
    try:
        yield
    except ApiProblem as problem:
        lines = [f"{one.get('pointer')}: {one.get('message')}" for one in problem.errors]
        text = "\n".join(lines) or problem.message
        raise kind(text, status_code=problem.status, code=problem.code) from problem
    except TrainwrightError as error:
        raise kind(f"{error.message} {error.hint}".strip()) from error
