"""Errors of secrets."""

from app.kernel.errors import Conflict, NotFound


class SecretNotFound(NotFound):
    """There is no such secret, or no such version of it any more."""

    code = "secret_not_found"


class TooManySecrets(Conflict):
    """The workspace has as many secrets as it may have."""

    code = "too_many_secrets"
