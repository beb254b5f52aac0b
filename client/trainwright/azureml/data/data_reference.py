"""References to paths in datastores, which this package does not reach."""

from typing import Any

from trainwright.azureml.core.datastore import ADVICE
from trainwright.azureml.exceptions import NotSupported


class DataReference:
    """Every use says what to do instead."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise NotSupported(f"DataReference: {ADVICE}")
