"""What one serving process may use."""

from typing import Any

from trainwright.azureml.exceptions import UserErrorException


class ResourceConfiguration:
    """Cores, memory and GPUs.

    Args:
        cpu: cores.
        memory_in_gb: GiB of memory.
        gpu: GPUs.
    """

    def __init__(
        self, cpu: float | None = None, memory_in_gb: float | None = None, gpu: int | None = None
    ) -> None:
        for name, value in (("cpu", cpu), ("memory_in_gb", memory_in_gb), ("gpu", gpu)):
            if value is not None and (value < 0 or (value == 0 and name != "gpu")):
                raise UserErrorException(f"{name} must be larger than 0, not {value}.")
        self.cpu = cpu
        self.memory_in_gb = memory_in_gb
        self.gpu = gpu

    def to_api(self) -> dict[str, Any]:
        """As the API takes it; what is not said is left to it."""
        said = {"cpu": self.cpu, "memory_gb": self.memory_in_gb, "gpu": self.gpu}
        return {name: value for name, value in said.items() if value is not None}

    @classmethod
    def from_api(cls, read: dict[str, Any]) -> "ResourceConfiguration":
        """As the API shows it."""
        return cls(read.get("cpu"), read.get("memory_gb"), read.get("gpu"))
