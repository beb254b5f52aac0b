"""BuildKit through the `docker` program: the SDK speaks to the old builder only."""

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import IO

from app.environments.commands import CommandFailed, Output, run_command
from app.environments.image_engine import EngineRefused, EngineUnavailable

_PROBE_SECONDS = 10
_FIRST_WITHOUT_BUILTIN = 23
_UNAVAILABLE = ("code = Unavailable", "Cannot connect to the Docker daemon", "error reading from")
_PASSED_NAMES = ("PATH", "HOME", "LANG", "TMPDIR")


class BuildKit:
    """One way to start builds.

    Attributes:
        argv: the command as far as ``build``.
    """

    def __init__(self, argv: tuple[str, ...], url: str) -> None:
        self.argv = argv
        self._url = url

    async def build(
        self,
        context: IO[bytes],
        tag: str,
        on_output: Output,
        *,
        credentials_file: Path | None = None,
    ) -> None:
        """Build a context; cancelling it ends the build in the engine.

        Args:
            context: a tar file.
            tag: what the result is called.
            on_output: is given the build's output.
            credentials_file: of registries from which the Dockerfile takes further images.

        Raises:
            EngineRefused: the build failed.
            EngineUnavailable: the engine went away.
        """
        environ = {name: os.environ[name] for name in _PASSED_NAMES if name in os.environ}
        # Attestations would make an index of each image, of no use to an engine.
        environ |= {"DOCKER_HOST": self._url, "DOCKER_BUILDKIT": "1",
                    "BUILDX_NO_DEFAULT_ATTESTATIONS": "1"}  # fmt: skip
        with tempfile.TemporaryDirectory(prefix="trainwright-build-") as folder:
            files = Path(folder, "context")
            with tarfile.open(fileobj=context) as tar:
                # Early Pythons 3.11 have no filters; these files are our own anyway.
                if hasattr(tarfile, "data_filter"):
                    tar.extraction_filter = tarfile.data_filter
                tar.extractall(files)  # noqa: S202
            if credentials_file is not None:
                environ["DOCKER_CONFIG"] = folder
                shutil.copyfile(credentials_file, Path(folder, "config.json"))
                # buildx may be installed for the user alone, beside the configuration.
                Path(folder, "cli-plugins").symlink_to(_user_plugins())
            argv = [*self.argv, "--progress=plain", "--tag", tag, str(files)]
            try:
                await run_command(argv, cwd=files, environ=environ, on_output=on_output)
            except CommandFailed as error:
                said = "\n".join(error.last_lines) or str(error)
                # Its own words come last; before them is what the steps printed.
                last = said.rpartition("\n")[2]
                if any(words in last for words in _UNAVAILABLE):
                    raise EngineUnavailable(said) from error
                raise EngineRefused(said) from error


def find_buildkit(url: str, environ: Mapping[str, str] = os.environ) -> BuildKit | None:
    """A `docker` program on ``PATH`` that can do BuildKit; blocks the first time."""
    for folder in environ.get("PATH", "").split(os.pathsep):
        program = shutil.which("docker", path=folder) if folder else None
        argv = _build_command(program) if program else None
        if argv is not None:
            return BuildKit(argv, url)
    return None


def _user_plugins() -> Path:
    configured = os.environ.get("DOCKER_CONFIG")
    folder = Path(configured) if configured else Path.home() / ".docker"
    return folder / "cli-plugins"


@lru_cache
def _build_command(program: str) -> tuple[str, ...] | None:
    if _says(program, "buildx", "version") is not None:
        # The builder inside the engine: another one would not see the engine's images.
        return (program, "buildx", "build", "--builder=default", "--load")
    version = _says(program, "--version") or ""
    # "Docker version 20.10.24+dfsg1, build 297e128"
    words = version.removeprefix("Docker version ").split(".")
    if words[0].isdigit() and int(words[0]) < _FIRST_WITHOUT_BUILTIN:
        return (program, "build")
    return None


def _says(program: str, *arguments: str) -> str | None:
    try:
        answer = subprocess.run(
            [program, *arguments],
            capture_output=True,
            check=True,
            text=True,
            timeout=_PROBE_SECONDS,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return answer.stdout
