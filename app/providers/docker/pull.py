"""Images of a registry that the engine does not hold yet."""

from pathlib import Path
from typing import Any

from docker import auth
from docker.errors import APIError, ImageNotFound

from app.providers.base import ImageMissing, ProviderError
from app.providers.docker.engine import words

# Codes and words of the distribution specification, as engines pass them on.
_ABSENT = ("manifest unknown", "name unknown", "not found")


def pull_missing(client: Any, reference: str, credentials_file: Path | None) -> None:
    """Pull ``repository@digest`` if the engine lacks it; an id of the engine cannot be pulled.

    Raises:
        ImageMissing: the registry does not have it.
        ProviderError: it cannot be pulled for another reason; with the registry's words.
    """
    repository, at, digest = reference.partition("@")
    if not at:
        return
    try:
        client.inspect_image(reference)
    except ImageNotFound:
        pass
    else:
        return
    credentials = None
    if credentials_file is not None:
        registry, _ = auth.resolve_repository_name(repository)
        credentials = auth.resolve_authconfig(auth.load_config(str(credentials_file)), registry)
    try:
        records = client.pull(
            repository, tag=digest, auth_config=credentials, stream=True, decode=True
        )
        said = [str(record["error"]) for record in records if "error" in record]
    except APIError as error:
        said = [words(error)]
    if not said:
        return
    message = f"The image {reference} cannot be pulled: {said[0].strip()}"
    if any(text in said[0] for text in _ABSENT):
        raise ImageMissing(message, reference=reference)
    raise ProviderError(message)
