"""Reading small files out of images."""

import tarfile
from io import BytesIO
from pathlib import Path
from typing import Any


def files_of(client: Any, image: str, path: str) -> dict[str, bytes]:
    """Files of an image by name; from a container that never starts.

    Args:
        client: of the engine.
        image: by name or id.
        path: a file, or a folder.
    """
    container = client.create_container(image, command=["true"])["Id"]
    try:
        pieces, _ = client.get_archive(container, path)
        packed = BytesIO(b"".join(pieces))
    finally:
        client.remove_container(container, v=True, force=True)
    found = {}
    with tarfile.open(fileobj=packed) as tar:
        for member in tar:
            file = tar.extractfile(member) if member.isfile() else None
            if file is not None:
                found[Path(member.name).name] = file.read()
    return found
