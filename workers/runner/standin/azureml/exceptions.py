"""Errors under the names that scripts catch."""


class AzureMLException(Exception):
    """Base of all errors here."""

    def __init__(self, exception_message="", inner_exception=None, **_ignored):
        super().__init__(exception_message)
        self.message = exception_message
        self.inner_exception = inner_exception


class UserErrorException(AzureMLException):
    """The call was wrong."""


class RunEnvironmentException(AzureMLException):
    """The script does not run where it would have to for this call."""


class ServiceException(AzureMLException):
    """The service refused, or could not be reached.

    Args:
        status_code: the HTTP status, None when there was no answer.
        code: the stable code of the problem document, if any.
    """

    def __init__(self, exception_message="", status_code=None, code=""):
        super().__init__(exception_message)
        self.status_code = status_code
        self.code = code


class NotOfferedException(UserErrorException, NotImplementedError):
    """The call belongs to a part of the SDK that this stand-in does not have."""


def not_offered(what):
    """Return the error for a call that this stand-in does not have."""
    return NotOfferedException(
        what + " is not offered inside a Trainwright run by this stand-in for azureml.core; "
        "use the Trainwright API, or put azureml-core into the run's pip packages."
    )
