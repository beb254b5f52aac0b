"""Which environment a model is loaded in when it is registered. Pure."""

import re
from typing import Any

from app.models.kind import Kind

_NAME = re.compile(r"^[a-z0-9._-]+")


def can_load(kind: str, spec: dict[str, Any]) -> bool:
    """Whether an environment has what loads models of a kind.

    Args:
        kind: of the model.
        spec: the environment's canonical specification.
    """
    if kind != Kind.ONNX:
        return spec.get("framework") == "tensorflow"
    names = {_name(line) for line in spec.get("requirements") or []}
    return "onnxruntime" in names


def _name(requirement: str) -> str:
    match = _NAME.match(requirement.lower())
    return match[0] if match else ""
