"""Running the tools that build environments: output line by line, never left behind."""

import asyncio
import os
import signal
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

Output = Callable[[bytes], Awaitable[None]]
"""Is given whole lines with their line end, as they come."""

_TIED_EXEC = Path(__file__).with_name("tied_exec.py")
_MAX_LINE_BYTES = 64 * 1024
_LAST_LINES = 20
# A package's set-up code may run during a build: it gets what tools need and none of our secrets.
_PASSED_NAMES = frozenset(
    {
        "PATH", "HOME", "USER", "LOGNAME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "NETRC",
        "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE",
        "CC", "CXX", "CFLAGS", "CXXFLAGS", "CPPFLAGS", "LDFLAGS", "PKG_CONFIG_PATH",
        "LD_LIBRARY_PATH", "CUDA_HOME", "CONDARC", "CONDA_PKGS_DIRS", "MAMBA_ROOT_PREFIX",
    }
)  # fmt: skip
_PASSED_PREFIXES = ("UV_", "LC_", "XDG_", "MAMBA_", "CONDA_")
_PROXY_NAMES = frozenset({"http_proxy", "https_proxy", "all_proxy", "no_proxy"})
# Would change what is built where, behind the specification's back.
_DROPPED_NAMES = frozenset(
    {
        "UV_PYTHON", "UV_SYSTEM_PYTHON", "UV_PROJECT", "UV_PROJECT_ENVIRONMENT", "UV_WORKING_DIR",
        "UV_EXTRA_INDEX_URL", "UV_INDEX_STRATEGY", "UV_TARGET", "UV_PREFIX", "UV_VENV_CLEAR",
        "CONDA_PREFIX", "CONDA_DEFAULT_ENV",
    }
)  # fmt: skip


class CommandFailed(Exception):
    """A tool ended with an error.

    Attributes:
        exit_code: negative for a signal.
        last_lines: the end of what it printed.
    """

    def __init__(self, exit_code: int, last_lines: Sequence[str]) -> None:
        super().__init__(f"exit code {exit_code}")
        self.exit_code = exit_code
        self.last_lines = list(last_lines)


def tool_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of the operator's environment that build tools get.

    The package index is the operator's single one: ``UV_DEFAULT_INDEX``, ``UV_INDEX_URL`` or
    ``PIP_INDEX_URL``. A second one that could offer a higher version of an internal name
    (``UV_EXTRA_INDEX_URL``) is not passed on.
    """
    passed = {
        name: value
        for name, value in environ.items()
        if name not in _DROPPED_NAMES
        and (
            name in _PASSED_NAMES
            or name.startswith(_PASSED_PREFIXES)
            or name.lower() in _PROXY_NAMES
        )
    }
    if "UV_INDEX_URL" not in passed and environ.get("PIP_INDEX_URL"):
        passed.setdefault("UV_DEFAULT_INDEX", environ["PIP_INDEX_URL"])
    passed["UV_NO_PROGRESS"] = "1"
    passed["UV_PYTHON_DOWNLOADS"] = "never"
    passed.setdefault("UV_HTTP_TIMEOUT", "120")
    if "UV_CONFIG_FILE" not in passed:
        config = _uv_config(environ)
        # Without it uv would read the pyproject.toml of whatever folder is above the data folder.
        passed |= {"UV_CONFIG_FILE": str(config)} if config else {"UV_NO_CONFIG": "1"}
    return passed


async def run_command(
    argv: Sequence[str],
    *,
    cwd: Path,
    environ: Mapping[str, str],
    on_output: Output,
    keep_stdout: bool = False,
) -> bytes:
    """Run a tool in its own process group; cancelling the call kills the whole group.

    Args:
        argv: the command; the first is a path.
        cwd: where it runs.
        environ: its whole environment.
        on_output: is given its output (without standard output where that is kept).
        keep_stdout: return standard output.

    Returns:
        Standard output if it is kept.

    Raises:
        CommandFailed: it ended with an error.
    """
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-I", "-S", str(_TIED_EXEC), str(os.getpid()), *argv,
        cwd=cwd,
        env=dict(environ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE if keep_stdout else asyncio.subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    last_lines: deque[str] = deque(maxlen=_LAST_LINES)
    kept = b""
    try:
        assert process.stdout is not None
        if keep_stdout:
            assert process.stderr is not None
            kept, _ = await asyncio.gather(
                process.stdout.read(), _pump(process.stderr, on_output, last_lines)
            )
        else:
            await _pump(process.stdout, on_output, last_lines)
        exit_code = await process.wait()
    finally:
        if process.returncode is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
    if exit_code != 0:
        raise CommandFailed(exit_code, last_lines)
    return kept


async def _pump(stream: asyncio.StreamReader, on_output: Output, last_lines: deque[str]) -> None:
    pending = b""
    while piece := await stream.read(_MAX_LINE_BYTES):
        *lines, pending = (pending + piece).split(b"\n")
        if len(pending) > _MAX_LINE_BYTES:
            lines, pending = [*lines, pending], b""
        if lines:
            last_lines.extend(line.decode(errors="replace") for line in lines if line.strip())
            await on_output(b"".join(line + b"\n" for line in lines))
    if pending:
        last_lines.append(pending.decode(errors="replace"))
        await on_output(pending + b"\n")


def _uv_config(environ: Mapping[str, str]) -> Path | None:
    home = Path(environ.get("HOME", "~")).expanduser()
    user = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "uv" / "uv.toml"
    return next((path for path in (user, Path("/etc/uv/uv.toml")) if path.is_file()), None)
