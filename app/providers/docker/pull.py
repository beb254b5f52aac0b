"""Images of a registry that the engine does not hold yet."""

from pathlib import Path
from typing import Any

from docker import auth
from docker.errors import ImageNotFound

from app.providers.base import ProviderError


def pull_missing(client: Any, reference: str, credentials_file: Path | None) -> None:
    """Pull ``repository@digest`` if the engine lacks it; an id of the engine cannot be pulled.

    Raises:
        ProviderError: with the registry's words.
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
    records = client.pull(repository, tag=digest, auth_config=credentials, stream=True, decode=True)
    said = [str(record["error"]) for record in records if "error" in record]
    if said:
        raise ProviderError(f"The image {reference} cannot be pulled: {said[0].strip()}")
