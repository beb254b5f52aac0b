"""Builds through the `docker` program, as far as they need no engine."""

import tarfile
from io import BytesIO
from typing import Any

import pytest

from app.environments.buildkit import BuildKit

pytestmark = pytest.mark.anyio


async def test_a_python_without_filters_for_archives_can_unpack_the_context(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Debian 12 has Python 3.11.2; filters came with 3.11.4."""
    extract = tarfile.TarFile.extractall

    def without_filter(
        tar: tarfile.TarFile, path: Any = ".", members: Any = None, *, numeric_owner: bool = False
    ) -> None:
        extract(tar, path, members, numeric_owner=numeric_owner)

    monkeypatch.setattr(tarfile.TarFile, "extractall", without_filter)
    said: list[bytes] = []

    async def on_output(output: bytes) -> None:
        said.append(output)

    # In place of the program: what is in the folder that it is given as its last argument.
    listing = ("/bin/sh", "-c", 'for last in "$@"; do :; done; cat "$last/Dockerfile"', "sh")
    await BuildKit(listing, "unix:///nowhere").build(_context(), "any:tag", on_output)

    assert b"".join(said) == b"FROM scratch\n"


def _context() -> BytesIO:
    packed = BytesIO()
    content = b"FROM scratch\n"
    with tarfile.open(fileobj=packed, mode="w") as tar:
        entry = tarfile.TarInfo("Dockerfile")
        entry.size = len(content)
        tar.addfile(entry, BytesIO(content))
    packed.seek(0)
    return packed
