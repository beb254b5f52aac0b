"""What the GPUs that a node can see are doing, as NVIDIA's own tool tells it."""

from __future__ import annotations

import shutil
import subprocess
from typing import Dict

_TOOL = "nvidia-smi"
_ANSWER_SECONDS = 10.0
_FIELDS = (
    ("utilization.gpu", "utilization_percent", 1.0),
    ("memory.used", "memory_bytes", 2.0**20),
    ("temperature.gpu", "temperature_celsius", 1.0),
    ("power.draw", "power_watts", 1.0),
)


class Gpus:
    """Asks the tool as long as it answers; where it is missing, or fails, there are no GPUs."""

    def __init__(self) -> None:
        self._tool = shutil.which(_TOOL)

    def read(self) -> Dict[str, float]:
        """Values by name, such as ``gpu0.utilization_percent``."""
        if self._tool is None:
            return {}
        names = ",".join(["index", *(name for name, _, _ in _FIELDS)])
        try:
            answer = subprocess.run(
                [self._tool, f"--query-gpu={names}", "--format=csv,noheader,nounits"],
                capture_output=True,
                check=True,
                timeout=_ANSWER_SECONDS,
                text=True,
            )
        except (OSError, subprocess.SubprocessError):
            self._tool = None
            return {}
        found: Dict[str, float] = {}
        for line in answer.stdout.splitlines():
            index, *values = (field.strip() for field in line.split(","))
            for (_, name, unit), value in zip(_FIELDS, values):
                try:
                    found[f"gpu{index}.{name}"] = float(value) * unit
                except ValueError:
                    continue  # "[N/A]": this card does not tell
        return found
