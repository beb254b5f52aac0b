"""Which environment a model is loaded in when it is registered. Pure."""

import re
from typing import Any

from app.models.kind import Kind

_NAME = re.compile(r"^[a-z0-9._-]+")
_OLDEST_PYTHON = (3, 8)


def can_load(kind: str, spec: dict[str, Any]) -> bool:
    """Whether an environment has what loads models of a kind, and runs the serving program.

    TensorFlow 1 does neither: its SavedModels are loaded by a later one, as for deployments.

    Args:
        kind: of the model.
        spec: the environment's canonical specification.
    """
    if _numbers(spec.get("python_version")) < _OLDEST_PYTHON:
        return False
    if kind != Kind.ONNX:
        is_tensorflow = spec.get("framework") == "tensorflow"
        return is_tensorflow and _numbers(spec.get("framework_version")) >= (2,)
    names = {_name(line) for line in spec.get("requirements") or []}
    return "onnxruntime" in names


def _name(requirement: str) -> str:
    match = _NAME.match(requirement.lower())
    return match[0] if match else ""


def _numbers(version: object) -> tuple[int, ...]:
    """The numbers of a version; none where it is not known."""
    return tuple(int(part) for part in str(version or "").split(".") if part.isdecimal())
