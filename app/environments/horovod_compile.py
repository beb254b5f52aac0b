"""Compiles Horovod with this machine's compiler, for virtual environments."""

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import uv

from app.environments.commands import Output, run_command
from app.environments.errors import ToolchainMissing
from app.environments.horovod import (
    BUILD_REQUIREMENTS,
    BUILD_VARIABLES,
    NAME,
    SOURCE_SHA256,
    VERSION,
    framework_requirement,
    wheel_key,
)
from app.environments.interpreters import Interpreter
from app.environments.resolved import Machine, ResolvedSpec
from app.environments.wheels import WheelCache
from app.kernel.errors import FieldError

_PROGRAMS = {"g++": "g++", "make": "make", "mpicxx": "libopenmpi-dev", "mpirun": "openmpi-bin"}
_HEADER = "import os, sysconfig; print(os.path.join(sysconfig.get_path('include'), 'Python.h'))"
_WORTH_SAYING = re.compile(rb"^ *\[ *\d+%\]|: (fatal )?error:|\bERROR:")
_MOST_LINE_BYTES = 200


def missing_packages(
    interpreter: Interpreter, environ: Mapping[str, str] = os.environ
) -> list[str]:
    """Debian packages that have to be installed before Horovod can be compiled here; blocks."""
    path = environ.get("PATH", "")
    missing = {
        package for name, package in _PROGRAMS.items() if shutil.which(name, path=path) is None
    }
    asked = [str(interpreter.path), "-I", "-c", _HEADER]
    header = subprocess.run(asked, capture_output=True, text=True, check=False).stdout.strip()
    if not Path(header).is_file():
        missing.add("python3-dev")
    return sorted(missing)


def machine_key(spec: ResolvedSpec, environ: Mapping[str, str] = os.environ) -> str:
    """The key of a wheel that is compiled on this machine, for an environment with Horovod."""
    release = platform.freedesktop_os_release()
    system = f"{release.get('ID', 'linux')}-{release.get('VERSION_ID', 'rolling')}"
    found = shutil.which("mpicxx", path=environ.get("PATH", "")) or shutil.which("mpirun")
    if found is not None and not found.startswith("/usr/bin/"):
        # Not the distribution's: what it links to may be of another kind.
        system += "-" + re.sub(r"[^A-Za-z0-9]+", "_", os.path.realpath(found)).strip("_")
    return wheel_key(spec, system=system)


def check_toolchain(
    spec: ResolvedSpec, machine: Machine, wheels: WheelCache, *, pointer: str
) -> None:
    """See that Horovod is compiled for the environment, or can be; blocks.

    Raises:
        ToolchainMissing: neither; the message names what to install.
    """
    interpreter = machine.interpreter(spec.python_version)
    if interpreter is None or wheels.find(machine_key(spec)) is not None:
        return
    missing = missing_packages(interpreter)
    if not missing:
        return
    message = (
        f"Horovod {VERSION} has to be compiled for {framework_requirement(spec)}, once, and this "
        f"machine lacks what that takes. On Debian and Ubuntu: apt-get install "
        f"{' '.join(missing)}."
    )
    error = FieldError(pointer=pointer, code=ToolchainMissing.code, message=message)
    raise ToolchainMissing(message, errors=[error], extensions={"missing_packages": missing})


async def compile_wheel(
    spec: ResolvedSpec,
    interpreter: Interpreter,
    into: Path,
    *,
    environ: Mapping[str, str],
    on_output: Output,
) -> None:
    """Compile Horovod against the environment's TensorFlow.

    Args:
        spec: the environment.
        interpreter: its Python.
        into: the folder that gets the wheel.
        environ: of the tools.
        on_output: is told how far it is.

    Raises:
        CommandFailed: with what the compiler said.
    """
    framework = framework_requirement(spec)
    await on_output(f"Compiling Horovod {VERSION} for {framework}: some minutes, once\n".encode())
    work = into / "work"
    work.mkdir()
    tool = uv.find_uv_bin()
    venv = [tool, "venv", "--python", str(interpreter.path), str(work / "venv")]
    await run_command(venv, cwd=work, environ=environ, on_output=on_output)
    python = work / "venv" / "bin" / "python"
    names = [framework, *BUILD_REQUIREMENTS]
    install = [tool, "pip", "install", "--python", str(python), *names]
    await run_command(install, cwd=work, environ=environ, on_output=on_output)
    (work / "requirements.txt").write_text(f"{NAME}=={VERSION} --hash=sha256:{SOURCE_SHA256}\n")
    wheel = [
        # Not from pip's own cache: it tells wheels of different TensorFlows apart by nothing.
        str(python), "-m", "pip", "wheel", "--no-cache-dir", "--verbose", "--no-build-isolation",
        "--no-deps", "--require-hashes", "--requirement", str(work / "requirements.txt"),
        "--wheel-dir", str(into),
    ]  # fmt: skip
    variables = {
        **environ,
        **BUILD_VARIABLES,
        **index_variables(environ),
        "PATH": f"{work / 'venv' / 'bin'}{os.pathsep}{environ.get('PATH', os.defpath)}",
        "MAKEFLAGS": f"-j{os.cpu_count() or 1}",
        "TMPDIR": str(work),
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    await run_command(wheel, cwd=work, environ=variables, on_output=progress_only(on_output))
    shutil.rmtree(work)


def index_variables(environ: Mapping[str, str]) -> dict[str, str]:
    """The operator's package index as pip wants to be told of it."""
    index = environ.get("UV_DEFAULT_INDEX") or environ.get("UV_INDEX_URL")
    return {"PIP_INDEX_URL": index} if index else {}


def progress_only(on_output: Output) -> Output:
    """Passes on how far the compiler is and what goes wrong; the rest is a megabyte of commands."""

    async def pass_on(lines: bytes) -> None:
        said = [line for line in lines.splitlines() if _WORTH_SAYING.search(line)]
        short = [line.strip()[:_MOST_LINE_BYTES] for line in said]
        if short:
            await on_output(b"".join(line + b"\n" for line in short))

    return pass_on
