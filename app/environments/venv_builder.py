"""Builds images of the embedded back end: virtual environments made by uv.

Each build has a folder of its own, ``images/<hash>/<token>``, and the environment stays where it
was made: environments hold absolute paths (conda's everywhere, a virtual environment's in the
scripts of some packages), so moving a finished one into place could break it. A build counts once
its ``image.json`` is there, which is written last and renamed into place; the image's row then
points at the folder. So a killed build leaves a folder without the file, which the next build of
the same hash removes, and a builder that lost its lease and wakes up late works in a folder that
nobody looks at. A finished build whose builder died before it could say so is adopted.
"""

import asyncio
import json
import os
import secrets
import shutil
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

import uv

from app.environments.built import BuildFailed, BuiltImage
from app.environments.commands import CommandFailed, Output, run_command, tool_environment
from app.environments.horovod_compile import compile_wheel, machine_key
from app.environments.interpreters import Interpreter
from app.environments.resolved import ResolvedSpec
from app.environments.wheels import WheelCache
from app.kernel.crash_points import CrashPoint, reached

MARKER = "image.json"
DEFAULT_TIMEOUT_SECONDS = 3600.0
_TRASH = ".trash"
_SHOWN_LINES = 12


class VenvBuilder:
    """Makes, finds and removes virtual environments below one folder."""

    def __init__(
        self,
        images_dir: Path,
        *,
        wheels: WheelCache | None = None,
        conda_tool: Path | None = None,
        environ: Mapping[str, str] = os.environ,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> None:
        self._images_dir = images_dir.absolute()
        self._wheels = wheels or WheelCache(images_dir.parent / "wheels")
        self._conda_tool = conda_tool
        self._environ = tool_environment(environ)
        self._timeout_seconds = timeout_seconds
        self._uv = uv.find_uv_bin()

    def find(self, spec_hash: str) -> BuiltImage | None:
        """A finished environment of this hash, if there is one whose interpreter is there."""
        for marker in sorted((self._images_dir / spec_hash).glob(f"*/{MARKER}")):
            facts = json.loads(marker.read_text())
            python = marker.parent / facts.pop("python")
            if python.exists():
                return BuiltImage(python=python, **facts)
        return None

    async def build(
        self,
        spec: ResolvedSpec,
        interpreter: Interpreter | None,
        *,
        on_output: Output,
        lock: str | None = None,
    ) -> BuiltImage:
        """Build an environment; call it only while holding the lease on its hash.

        Cancelling it kills the tools; what they leave is removed by the next build.

        Args:
            spec: what to build.
            interpreter: the Python to build with; None only where conda brings one.
            on_output: is given what the tools print, line by line.
            lock: pinned requirements of an earlier build, to get the same again.

        Raises:
            BuildFailed: with what the tool said.
        """
        started = time.monotonic()
        base = self._images_dir / spec.spec_hash
        await asyncio.to_thread(_remove_tree, base, self._images_dir)
        folder = base / secrets.token_hex(4)
        folder.mkdir(parents=True)
        try:
            async with asyncio.timeout(self._timeout_seconds):
                python = await self._make(spec, interpreter, folder, on_output)
                locked = lock or await self._lock(spec, python, folder, on_output)
                await self._install(spec, python, locked, folder, on_output)
                if spec.horovod is not None:
                    await self._install_horovod(spec, interpreter, python, folder, on_output)
                built = await self._finish(python, locked, folder, started)
        except CommandFailed as error:
            await asyncio.to_thread(_remove_tree, folder, self._images_dir)
            raise _failed(
                "install_failed", "The environment's Python does not work", error
            ) from None
        except TimeoutError:
            text = f"The build took longer than {self._timeout_seconds:.0f} seconds."
            raise BuildFailed("build_timeout", text) from None
        except BuildFailed:
            await asyncio.to_thread(_remove_tree, folder, self._images_dir)
            raise
        size = f"{built.size_bytes / 1e6:.0f} MB in {built.build_seconds:.1f} s"
        await on_output(f"Environment {spec.spec_hash[:12]} is ready: {size}\n".encode())
        return built

    def remove(self, spec_hash: str) -> None:
        """Remove all environments of a hash; blocks while it deletes."""
        _remove_tree(self._images_dir / spec_hash, self._images_dir)

    def hashes(self) -> list[str]:
        """The hashes that have folders here, finished or not."""
        if not self._images_dir.is_dir():
            return []
        return sorted(path.name for path in self._images_dir.iterdir() if path.name != _TRASH)

    async def _make(
        self,
        spec: ResolvedSpec,
        interpreter: Interpreter | None,
        folder: Path,
        on_output: Output,
    ) -> Path:
        if spec.conda_packages:
            return await self._make_conda(spec, folder, on_output)
        if interpreter is None:
            text = f"There is no Python {spec.python_version} on this machine any more."
            raise BuildFailed("interpreter_missing", text)
        # Relocatable: entry points find their interpreter beside them, so that the data folder
        # may be moved as a whole, and long paths do not exceed what a shebang line may hold.
        argv = ["venv", "--relocatable", "--python", str(interpreter.path), str(folder / "venv")]
        title = f"Making an environment with Python {interpreter.version}"
        await self._run_uv(argv, folder, on_output, title=title, code="install_failed")
        return folder / "venv" / "bin" / "python"

    async def _make_conda(self, spec: ResolvedSpec, folder: Path, on_output: Output) -> Path:
        if self._conda_tool is None:
            raise BuildFailed("conda_failed", "There is no conda on this machine any more.")
        channels = [part for name in spec.conda_channels for part in ("-c", name)]
        argv = [
            str(self._conda_tool), "create", "--yes", "--prefix", str(folder / "venv"),
            "--override-channels", *channels, f"python={spec.python_version}",
            *spec.conda_packages,
        ]  # fmt: skip
        environ = {"MAMBA_ROOT_PREFIX": str(self._images_dir.parent / "conda"), **self._environ}
        await on_output(f"Making an environment with {self._conda_tool.name}\n".encode())
        try:
            await run_command(argv, cwd=folder, environ=environ, on_output=on_output)
        except CommandFailed as error:
            raise _failed("conda_failed", "The conda packages", error) from error
        return folder / "venv" / "bin" / "python"

    async def _lock(self, spec: ResolvedSpec, python: Path, folder: Path, on_output: Output) -> str:
        if not spec.requirements:
            return ""
        requirements = folder / "requirements.in"
        requirements.write_text("".join(f"{line}\n" for line in spec.requirements))
        constraints = folder / "constraints.txt"
        constraints.write_text("".join(f"{line}\n" for line in spec.constraints))
        locked = folder / "requirements.txt"
        argv = [
            "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate",
            "--python", str(python), "--constraints", str(constraints),
            "--output-file", str(locked), str(requirements),
        ]  # fmt: skip
        title = "Resolving " + ", ".join(spec.requirements)
        await self._run_uv(argv, folder, on_output, title=title, code="resolution_failed")
        return locked.read_text()

    async def _install(
        self, spec: ResolvedSpec, python: Path, lock: str, folder: Path, on_output: Output
    ) -> None:
        if not lock.strip():
            return
        locked = folder / "requirements.txt"
        locked.write_text(lock)
        argv = [
            "pip", "install", "--python", str(python), "--break-system-packages",
            *spec.compile_options, "--requirements", str(locked),
        ]  # fmt: skip
        title = f"Installing {sum(line[:1].isalnum() for line in lock.splitlines())} packages"
        await self._run_uv(argv, folder, on_output, title=title, code="install_failed")

    async def _install_horovod(
        self,
        spec: ResolvedSpec,
        interpreter: Interpreter | None,
        python: Path,
        folder: Path,
        on_output: Output,
    ) -> None:
        if interpreter is None:
            text = f"Horovod needs a Python {spec.python_version} on this machine to be compiled."
            raise BuildFailed("interpreter_missing", text)

        async def compile_into(into: Path) -> None:
            await compile_wheel(spec, interpreter, into, environ=self._environ, on_output=on_output)

        key = machine_key(spec, self._environ)
        try:
            wheel = await self._wheels.ensure(key, compile_into, on_output)
        except CommandFailed as error:
            raise _failed("horovod_failed", "Horovod cannot be compiled", error) from error
        argv = [
            "pip", "install", "--python", str(python), "--break-system-packages", "--no-deps",
            *spec.compile_options, str(wheel),
        ]  # fmt: skip
        title = f"Installing {wheel.name}"
        await self._run_uv(argv, folder, on_output, title=title, code="install_failed")

    async def _finish(self, python: Path, lock: str, folder: Path, started: float) -> BuiltImage:
        printed: list[bytes] = []

        async def keep(lines: bytes) -> None:
            printed.append(lines)

        listing = await run_command(
            [self._uv, "pip", "list", "--format", "json", "--python", str(python)],
            cwd=folder, environ=self._environ, on_output=keep, keep_stdout=True,
        )  # fmt: skip
        packages = {entry["name"]: entry["version"] for entry in json.loads(listing)}
        facts = [str(python), "-I", "-c", "import platform; print(platform.python_version())"]
        version = await run_command(
            facts, cwd=folder, environ=self._environ, on_output=keep, keep_stdout=True
        )
        built = BuiltImage(
            python=python,
            python_version=version.decode().strip(),
            lock=lock,
            packages=packages | await asyncio.to_thread(_conda_packages, folder / "venv"),
            size_bytes=await asyncio.to_thread(_size_bytes, folder),
            build_seconds=round(time.monotonic() - started, 3),
        )
        _write_marker(folder, asdict(built) | {"python": str(python.relative_to(folder))})
        return built

    async def _run_uv(
        self, argv: Sequence[str], folder: Path, on_output: Output, *, title: str, code: str
    ) -> None:
        await on_output(f"{title}\n".encode())
        keep_stdout = "compile" in argv  # the lock is read from its file
        try:
            await run_command(
                [self._uv, *argv],
                cwd=folder,
                environ=self._environ,
                on_output=on_output,
                keep_stdout=keep_stdout,
            )
        except CommandFailed as error:
            subject = {"resolution_failed": "The packages cannot be resolved"}.get(code)
            raise _failed(code, subject or "The installation failed", error) from error


def _failed(code: str, subject: str, error: CommandFailed) -> BuildFailed:
    said = "\n".join(error.last_lines[-_SHOWN_LINES:]) or f"exit code {error.exit_code}"
    return BuildFailed(code, f"{subject}:\n{said}")


def _conda_packages(prefix: Path) -> dict[str, str]:
    entries = (json.loads(path.read_text()) for path in sorted(prefix.glob("conda-meta/*.json")))
    return {entry["name"]: entry["version"] for entry in entries}


def _size_bytes(folder: Path) -> int:
    return sum(
        os.lstat(os.path.join(root, name)).st_size
        for root, _, names in os.walk(folder)
        for name in names
    )


def _write_marker(folder: Path, facts: dict[str, object]) -> None:
    """Write ``image.json`` so that it is there whole or not at all."""
    partial = folder / f".{MARKER}"
    with partial.open("w") as file:
        json.dump(facts, file)
        file.flush()
        os.fsync(file.fileno())
    reached(CrashPoint.BUILD_UNMARKED)
    partial.rename(folder / MARKER)


def _remove_tree(folder: Path, images_dir: Path) -> None:
    """Remove a folder, out of sight at once, so that no half of it is ever found."""
    if not folder.exists():
        return
    trash = images_dir / _TRASH
    trash.mkdir(exist_ok=True)
    folder.rename(trash / f"{folder.name}-{secrets.token_hex(4)}")
    # A tool that was just killed may still hold a file open; the rest goes with the next removal.
    for entry in trash.iterdir():
        shutil.rmtree(entry, ignore_errors=True)
