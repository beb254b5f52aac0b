"""From what the reading process printed to what is stored. Pure."""

from typing import Any

from pydantic import ValidationError

from app.models.schemas import SignatureRead

NO_DEFAULT = (
    "The SavedModel has no signature named 'serving_default' and more than one other ({names});"
    " save it with one, e.g. tf.saved_model.save(model, path, signatures=model.call)."
)


class SignatureUnavailable(Exception):
    """There is no signature to be had; the text says why."""


def choose_signature(document: dict[str, Any]) -> dict[str, Any]:
    """The signature that is served, checked: the document comes from a process that read a
    stranger's file.

    Args:
        document: what `inspect_model.py` printed.

    Raises:
        SignatureUnavailable: there is none, in words.
    """
    error = document.get("error")
    if isinstance(error, dict):
        raise SignatureUnavailable(str(error.get("message", "The model cannot be read.")))
    signatures = document.get("signatures")
    if not isinstance(signatures, dict):
        raise SignatureUnavailable("The model cannot be read.")
    name = document.get("default_signature")
    if not isinstance(name, str) or not isinstance(signatures.get(name), dict):
        names = ", ".join(sorted(signatures))[:500]
        raise SignatureUnavailable(NO_DEFAULT.format(names=names))
    try:
        checked = SignatureRead.model_validate({**signatures[name], "signature_name": name})
    except ValidationError as problem:
        first = problem.errors()[0]
        raise SignatureUnavailable(
            f"The signature cannot be used: {first['loc']}: {first['msg']}."
        ) from problem
    return checked.model_dump()
