"""Framework names as the v1 client spells them."""

import pytest
from pydantic import ValidationError

from app.models.schemas import ModelDescription


@pytest.mark.parametrize(
    ("spelled", "meant"),
    [("TensorFlow", "tensorflow"), ("ScikitLearn", "scikit-learn"), ("Onnx", "onnx")],
)
def test_the_v1_names_are_known(spelled: str, meant: str) -> None:
    assert ModelDescription.model_validate({"framework": spelled}).framework == meant


def test_an_unknown_framework_is_refused() -> None:
    with pytest.raises(ValidationError, match="tensorflow"):
        ModelDescription.model_validate({"framework": "abacus"})
