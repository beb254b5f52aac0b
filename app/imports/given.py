"""What only this service knows and a document of Azure's cannot say."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Given:
    """Beside the document.

    Attributes:
        datasets: names of inputs in the document and the datasets here that they stand for.
        has_environment: whether the document's environment is replaced, so need not be understood.
        has_cluster: whether the document's target is replaced.
        has_container_images: whether environments are container images here.
    """

    datasets: Mapping[str, dict[str, Any]] = field(default_factory=dict)
    has_environment: bool = False
    has_cluster: bool = False
    has_container_images: bool = False
