"""Arguments that have no counterpart: never ignored in silence."""

import warnings
from typing import Any

from trainwright.azureml.exceptions import AzureOnlyWarning, NotSupported


def refuse(where: str, advice: str, **arguments: Any) -> None:
    """Raise when an argument is given that would change what happens, and cannot be had.

    Args:
        where: the call.
        advice: what to do instead.
        arguments: those in question; None, False and empty ones are as good as not given.

    Raises:
        NotSupported: at least one is given.
    """
    given = [name for name, value in arguments.items() if _is_given(value)]
    if given:
        raise NotSupported(f"{where}: {', '.join(given)} cannot be had here. {advice}")


def leave_aside(where: str, reason: str, **arguments: Any) -> None:
    """Warn when an argument is given that only means something inside of Azure.

    Args:
        where: the call.
        reason: why it is left aside.
        arguments: those in question; None, False and empty ones are as good as not given.
    """
    given = [name for name, value in arguments.items() if _is_given(value)]
    if given:
        message = f"{where}: {', '.join(given)} left aside. {reason}"
        warnings.warn(message, AzureOnlyWarning, stacklevel=3)


def _is_given(value: Any) -> bool:
    return not (value is None or value is False or (hasattr(value, "__len__") and len(value) == 0))
