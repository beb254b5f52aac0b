"""What is sent to the engine for a build, and what comes back while it works."""

import os
import tarfile
import tempfile
from collections import deque
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import IO

import uv

from app.environments.build_files import (
    apt_configuration,
    build_environment,
    build_lists,
    conda_order,
)
from app.environments.commands import Output, tool_environment
from app.environments.dockerfile import ENVIRONMENT_PATH, Start, dockerfile
from app.environments.horovod_compile import index_variables
from app.environments.horovod_dockerfile import wheel_dockerfile, wheel_lists
from app.environments.image_engine import Record
from app.environments.resolved import ResolvedSpec

_SHOWN_LINES = 12
_SCRIPTS = [Path(__file__).with_name(name) for name in ("image_facts.py", "conda_install.py")]
_PASSED_PREFIX = "UV_"
_PROXY_NAMES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})


def build_context(
    spec: ResolvedSpec,
    *,
    lock: str | None,
    environ: Mapping[str, str],
    ca_file: Path | None,
    with_mounts: bool = False,
    start: Start | None = None,
    channel_alias: str = "",
    wheel: Path | None = None,
) -> IO[bytes]:
    """The build context as a tar file, to be closed; the same input gives the same checksums."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by the caller)
    texts = {
        "Dockerfile": dockerfile(spec, with_mounts=with_mounts, start=start),
        "tools/environment": build_environment(environ, has_ca_bundle=ca_file is not None),
        **{f"tools/{script.name}": script.read_text() for script in _SCRIPTS},
        **build_lists(spec, lock),
    }
    if spec.conda_packages:
        texts["conda.json"] = conda_order(
            spec, ENVIRONMENT_PATH, channel_alias=channel_alias, lock=lock
        )
    with tarfile.open(fileobj=file, mode="w") as tar:
        _add_all(tar, texts, ca_file)
        if wheel is not None:
            _add(tar, f"wheels/{wheel.name}", wheel.read_bytes())
    file.seek(0)
    return file


def wheel_context(
    spec: ResolvedSpec,
    *,
    image: str,
    environ: Mapping[str, str],
    ca_file: Path | None,
    with_mounts: bool,
) -> IO[bytes]:
    """The context for compiling the environment's Horovod, to be closed; see `dockerfile`."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by the caller)
    variables = {**environ, **index_variables(environ)}
    texts = {
        "Dockerfile": wheel_dockerfile(spec, image=image, with_mounts=with_mounts),
        "tools/environment": build_environment(variables, has_ca_bundle=ca_file is not None),
        **wheel_lists(),
    }
    with tarfile.open(fileobj=file, mode="w") as tar:
        _add_all(tar, texts, ca_file)
    file.seek(0)
    return file


def plain_context(text: str) -> IO[bytes]:
    """A context with a Dockerfile and nothing else, to be closed."""
    file = tempfile.TemporaryFile()  # noqa: SIM115  (closed by the caller)
    with tarfile.open(fileobj=file, mode="w") as tar:
        _add(tar, "Dockerfile", text.encode())
    file.seek(0)
    return file


def build_variables(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Variables of uv and proxies; paths of this machine mean nothing in a container."""
    passed = tool_environment(environ)
    return {
        name: value
        for name, value in passed.items()
        if (name.startswith(_PASSED_PREFIX) or name.lower() in _PROXY_NAMES)
        and not name.endswith(("_DIR", "_FILE"))
    }


def proxy_arguments(environ: Mapping[str, str]) -> dict[str, str]:
    """Proxies as build arguments, which the engine keeps out of the history (predefined ones)."""
    return {name: value for name, value in environ.items() if name.lower() in _PROXY_NAMES}


class Progress:
    """Turns the engine's records into lines, and keeps what they say of the result."""

    def __init__(self, on_output: Output) -> None:
        self._on_output = on_output
        self.last_lines: deque[str] = deque(maxlen=_SHOWN_LINES)
        self.image_id = ""
        self.digest = ""
        self._pending = ""

    async def __call__(self, record: Record) -> None:
        aux = record.get("aux") or {}
        self.image_id = aux.get("ID", self.image_id)
        self.digest = aux.get("Digest", self.digest)
        if "stream" in record:
            await self._pass_on(record["stream"])
        elif "progress" not in record and record.get("status"):
            # Progress bars of single layers would be thousands of lines.
            await self._pass_on(f"{record['status']}\n")

    async def _pass_on(self, text: str) -> None:
        whole, newline, self._pending = (self._pending + text).rpartition("\n")
        lines = [line for line in whole.split("\n") if line.strip()]
        if newline and lines:
            self.last_lines.extend(lines)
            await self._on_output("".join(f"{line}\n" for line in lines).encode())


def _add_all(tar: tarfile.TarFile, texts: Mapping[str, str], ca_file: Path | None) -> None:
    for name, text in texts.items():
        _add(tar, name, text.encode())
    _add(tar, "tools/uv", Path(uv.find_uv_bin()).read_bytes(), mode=0o755)
    if ca_file is not None:
        _add(tar, "tools/ca.crt", ca_file.read_bytes())
        _add(tar, "tools/apt.conf", apt_configuration().encode())


def _add(tar: tarfile.TarFile, name: str, content: bytes, *, mode: int = 0o644) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    member.mode = mode
    tar.addfile(member, BytesIO(content))
