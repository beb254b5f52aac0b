"""Which environment serves a model. Pure."""

import re

from app.environments.spec import EnvironmentSpec
from app.models.kind import Kind

SERVING_PACKAGES = ["httptools", "orjson", "starlette>=0.27", "uvicorn>=0.20", "uvloop"]
ONNX_PACKAGES = ["numpy", "onnxruntime"]
_VERSION = re.compile(r"^(\d{1,2})(\.\d{1,3}){0,2}")


def serving_specs(
    framework_version: str, *, kind: str = Kind.SAVED_MODEL, use_gpu: bool = False
) -> list[EnvironmentSpec]:
    """Environments that can serve the model, the best first.

    The version that made the model comes first. SavedModels are readable by every later
    TensorFlow, those of TensorFlow 1 included, so the newest one stands in for versions that
    cannot be had here, for TensorFlow 1, and where nothing is known. ONNX models say themselves
    what they need, and the newest ONNX Runtime reads all of them; it computes on CPUs here.

    Args:
        framework_version: as registered with the model; may be empty.
        kind: of the model.
        use_gpu: whether replicas get a GPU.
    """
    if kind == Kind.ONNX:
        return [EnvironmentSpec(pip_packages=[*SERVING_PACKAGES, *ONNX_PACKAGES])]
    newest = _spec(None, use_gpu=use_gpu)
    match = _VERSION.match(framework_version)
    if match is None or int(match[1]) < 2:
        return [newest]
    return [_spec(match[0], use_gpu=use_gpu), newest]


def _spec(version: str | None, *, use_gpu: bool) -> EnvironmentSpec:
    return EnvironmentSpec(
        framework="tensorflow",
        framework_version=version,
        use_gpu=use_gpu,
        pip_packages=list(SERVING_PACKAGES),
    )
