"""Ways to log in to Azure; here the token of `trainwright login` is what counts."""

import warnings
from typing import Any

from trainwright.azureml.exceptions import AzureOnlyWarning


class AbstractAuthentication:
    """A login to Azure, which means nothing here."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        message = (
            f"{type(self).__name__} is left aside: the token is that of `trainwright login`, or "
            "of TRAINWRIGHT_TOKEN."
        )
        warnings.warn(message, AzureOnlyWarning, stacklevel=2)


class InteractiveLoginAuthentication(AbstractAuthentication):
    """A login in the browser."""


class AzureCliAuthentication(AbstractAuthentication):
    """A login of the command line's."""


class ServicePrincipalAuthentication(AbstractAuthentication):
    """A login of a program's."""


class MsiAuthentication(AbstractAuthentication):
    """A login of a machine's."""
