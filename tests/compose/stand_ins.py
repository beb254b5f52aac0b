"""Images for the compose file where no registry can be reached, and Trainwright's own."""

import io
import os
import tarfile
from contextlib import closing
from pathlib import Path
from typing import Any

from tests import docker_engine
from tests.conftest import REPOSITORY

_FOLDER = Path(__file__).parent / "stand_ins"
_CERTIFICATES = Path("/etc/ssl/certs/ca-certificates.crt")
_REPOSITORY = "trainwright-test/compose"
_PARTS = ("python", "postgres", "valkey", "registry", "haproxy")
_BUILD_SECONDS = 900


def name_of(part: str) -> str:
    """The name of an image that `build_all` makes."""
    return f"{_REPOSITORY}:{part}"


def build_all(base: str) -> None:
    """Make a stand-in for every official image, and the image of Trainwright from its Dockerfile.

    The old builder makes them, so what has not changed since the last time is there already.

    Args:
        base: an image of Debian with Python.
    """
    context = _packed(_FOLDER, {"ca-certificates.crt": _CERTIFICATES})
    for part in _PARTS:
        context.seek(0)
        _build(context, part, target=part, arguments={"BASE": base})
    _build(_source(), "trainwright", arguments={"BASE_IMAGE": name_of("python")})


def _source() -> io.BytesIO:
    """What .dockerignore lets through."""
    lines = (REPOSITORY / ".dockerignore").read_text().splitlines()
    kept = [line.removeprefix("!") for line in lines if line.startswith("!")]
    return _packed(REPOSITORY, {}, only=["Dockerfile", *kept])


def _packed(folder: Path, more: dict[str, Path], only: list[str] | None = None) -> io.BytesIO:
    """A build context that depends on names, contents and modes alone."""
    buffer = io.BytesIO()
    tops = [folder / name for name in only] if only else [folder]
    files = [path for top in tops for path in (top.rglob("*") if top.is_dir() else [top])]
    named = {path.relative_to(folder).as_posix(): path for path in files if path.is_file()}
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, path in sorted((named | more).items()):
            if "__pycache__" in path.parts:
                continue
            entry = tarfile.TarInfo(name)
            entry.size = path.stat().st_size
            entry.mode = 0o755 if os.access(path, os.X_OK) else 0o644
            with path.open("rb") as content:
                archive.addfile(entry, content)
    buffer.seek(0)
    return buffer


def _build(
    context: io.BytesIO, part: str, *, arguments: dict[str, str], target: str | None = None
) -> None:
    said: list[str] = []
    with closing(docker_engine.client()) as engine:
        records: Any = engine.build(
            fileobj=context,
            custom_context=True,
            tag=name_of(part),
            target=target,
            buildargs=arguments,
            rm=True,
            forcerm=True,
            decode=True,
            timeout=_BUILD_SECONDS,
        )
        for record in records:
            said.append(str(record.get("stream") or record.get("error") or ""))
            assert "error" not in record, "".join(said[-30:])
