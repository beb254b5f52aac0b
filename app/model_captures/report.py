"""What the capturing program has written, checked: it has run a stranger's model."""

from typing import Any, Literal, Self

import orjson
from pydantic import BaseModel, Field, ValidationError, model_validator

from app.kernel.plain_text import holds_unkeepable
from app.model_captures.decide import Failed, error
from app.models.sample import MAX_ELEMENTS, elements, misfits
from app.models.schemas import SignatureRead

MAX_REPORT_BYTES = 16 * 1024**2


class ReportedSample(BaseModel):
    """An input and the answer to it."""

    inputs: dict[str, Any] = Field(min_length=1)
    outputs: dict[str, Any] = Field(min_length=1)


class ReportedError(BaseModel):
    """Why there is no sample."""

    code: Literal[
        "model_not_loadable", "inputs_refused", "answer_misfit", "answer_not_plain",
        "answers_differ", "sample_too_large",
    ]  # fmt: skip
    message: str = Field(max_length=4000)


class Report(BaseModel):
    """What was found out."""

    runtime: str = Field(max_length=100)
    signature: SignatureRead | None
    sample: ReportedSample | None
    error: ReportedError | None

    @model_validator(mode="after")
    def _one_end(self) -> Self:
        if (self.sample is None) is (self.error is None):
            raise ValueError("a report has a sample or an error")
        if self.sample is not None and self.signature is None:
            raise ValueError("a sample needs a signature")
        return self


def read_report(document: bytes) -> Report | Failed:
    """The report, or why it cannot be used.

    Args:
        document: the bytes that the node sent.
    """
    try:
        return _read(document)
    except RecursionError:
        return Failed(error("report_invalid", "The report on the model is nested too deep."))


def _read(document: bytes) -> Report | Failed:
    try:
        # Refuses NaN, infinity, halves of surrogate pairs and what is nested too deep.
        found = orjson.loads(document)
        if holds_unkeepable(found):
            words = "The report on the model has a text with the NUL character."
            return Failed(error("report_invalid", words))
        report = Report.model_validate(found)
    except orjson.JSONDecodeError as problem:
        words = f"The report on the model is no JSON that can be kept: {problem.msg}."
        return Failed(error("report_invalid", words))
    except ValidationError as problem:
        first = problem.errors(include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        words = f"The report on the model cannot be used: {where}: {first['msg']}."
        return Failed(error("report_invalid", words))
    if report.sample is None or report.signature is None:
        return report
    sample, signature = report.sample, report.signature
    if elements(sample.inputs) + elements(sample.outputs) > MAX_ELEMENTS:
        words = f"The sample has more than {MAX_ELEMENTS} values."
        return Failed(error("sample_too_large", words))
    wrong = misfits("inputs", signature.inputs, sample.inputs)
    wrong += misfits("outputs", signature.outputs, sample.outputs)
    if wrong:
        pointer, said = wrong[0]
        return Failed(error("answer_misfit", f"{pointer}: {said}"))
    return report
