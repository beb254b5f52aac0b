"""A loaded model, whatever library runs it: called, warmed up, compared with its sample."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Dict, List, Mapping, cast

from .decode import decode_request
from .made_up import made_up_inputs
from .problems import Problem
from .sample import Sample, find_difference, find_misfit
from .signature import Signature

Arrays = Dict[str, Any]
"""An array of each input or output, by name."""
_TRACE_LINES = ("Graph execution error", "Detected at", "File ")


class UnservableModelError(Exception):
    """The model cannot be loaded, has nothing to call, or fails on every sample."""


class ModelRefusedError(ValueError):
    """These values do not suit the model; the text is the library's."""


class ModelFailedError(RuntimeError):
    """The library could not compute the answer, whoever is at fault; the text is its own."""


class Model:
    """A loaded model.

    Attributes:
        signatures: what can be called, by name.
        default: the one that is called where none is named.
        runtime: name and version of the library that runs it.
    """

    def __init__(
        self,
        signatures: Dict[str, Signature],
        functions: Mapping[str, Callable[[Arrays], Arrays]],
        default: str,
        *,
        runtime: str,
    ) -> None:
        self.signatures = signatures
        self.default = default
        self.runtime = runtime
        self._functions = functions

    def run(self, signature: str, arrays: Arrays) -> Arrays:
        """Call one signature with an array per input; return an array per output.

        Raises:
            ModelRefusedError: the model refuses these values.
            ModelFailedError: the answer could not be computed.
        """
        return self._functions[signature](arrays)

    def warm_up(self) -> Dict[str, Any]:
        """Run a real inference of the default signature on made-up values; return the outputs.

        Raises:
            UnservableModelError: the model refused all of them, and the text has each reason; or
                the answer has other shapes than the signature.
        """
        signature = self.signatures[self.default]
        reasons: List[str] = []
        for arrays in made_up_inputs(signature):
            try:
                answer = self.run(self.default, arrays)
            except (ModelRefusedError, ModelFailedError) as error:
                shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in arrays.items())
                reasons.append(f"{shapes}: {describe_refusal(error)}")
                continue
            if misfit := find_misfit(signature, answer):
                raise UnservableModelError(f"The model answers a made-up sample wrongly: {misfit}")
            return answer
        raise UnservableModelError(
            "The model refuses every sample made from its signature; give one. "
            + "; ".join(dict.fromkeys(reasons))
        )

    def check(self, sample: Sample) -> None:
        """Run the stored sample through the default signature and compare the answers.

        Raises:
            UnservableModelError: the model refused the sample, or answered something else.
        """
        try:
            request = decode_request({"inputs": sample.inputs}, self.signatures, self.default)
            answer = self.run(self.default, request.arrays)
        except (Problem, ModelRefusedError, ModelFailedError) as error:
            raise UnservableModelError(
                f"The model refuses its stored sample: {describe_refusal(error)}"
            ) from error
        if difference := find_difference(sample, answer):
            raise UnservableModelError(
                f"The model answers its stored sample differently: {difference}"
            )


def load_model(path: Path) -> Model:
    """Load the SavedModel folder, or the `.keras`, `.h5` or `.onnx` file, at `path`.

    Raises:
        UnservableModelError: there is nothing to call in it, or it cannot be loaded here.
        UnreadableModelError: it is no SavedModel.
    """
    # Each environment has the library of its own kind of model only.
    library = "onnx_model" if path.suffix.lower() == ".onnx" else "tensorflow_model"
    return cast("Model", import_module(f".{library}", __package__).load(path))


def describe_refusal(error: Exception) -> str:
    """Return the first line of what a library said, without its node trace."""
    text = getattr(error, "message", None) or str(error)
    lines = [line.strip() for line in str(text).splitlines() if line.strip()]
    useful = [line for line in lines if not line.startswith(_TRACE_LINES)]
    return (useful or lines or [type(error).__name__])[0][:500]
