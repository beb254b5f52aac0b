"""What this machine has, and what exactly an environment is made of."""

import hashlib
import json
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from app.environments.base_images import BaseImages
from app.environments.interpreters import Interpreter

SPEC_FORMAT = 1
VENV_KIND = "venv"
IMAGE_KIND = "docker"


@dataclass(frozen=True)
class Machine:
    """What the machine that builds and runs environments has.

    Attributes:
        interpreters: one for each Python minor version, the newest first.
        has_gpu: whether there is an NVIDIA GPU.
        conda_tool: micromamba, mamba or conda, if there is one.
        platform_name: operating system and architecture.
        bases: where environments are images: what they start from.
        has_mpi: whether Open MPI's programs are on the ``PATH``.
    """

    interpreters: Sequence[Interpreter]
    has_gpu: bool = False
    conda_tool: Path | None = None
    platform_name: str = f"{sys.platform}-{platform.machine()}"
    bases: BaseImages | None = None
    has_mpi: bool = False

    def interpreter(self, minor_name: str) -> Interpreter | None:
        """The interpreter of a minor version such as ``3.7``, if it is here."""
        for interpreter in self.interpreters:
            if interpreter.minor_name == minor_name:
                return interpreter
        return None


@dataclass(frozen=True)
class ResolvedSpec:
    """What exactly is to be built; whatever asks for the same shares one image.

    Attributes:
        python_version: minor version, e.g. ``3.7``; empty: the one that the base image has.
        requirements: pip requirements, the framework's own included.
        constraints: versions held back so that an old framework imports today.
        framework: ``tensorflow`` or None.
        framework_version: the series or exact version chosen.
        use_gpu: whether the framework is installed with GPU support.
        conda_packages: installed by conda before pip's.
        conda_channels: in order of priority.
        platform_name: operating system and architecture.
        kind: of the back end that builds it.
        base: the image it starts from, where it is an image without a Dockerfile of its own.
        base_digest: what exactly the base is; None until its tag has been looked up.
        dockerfile: what its base is built by.
        user_managed: whether the base has everything, so that nothing is installed.
        apt_packages: Debian packages, installed before all others; of images only.
        horovod: its version, where it is part of the environment; compiled by the build.
        warnings: what the user should know, ``{"code", "message"}``; no part of the image.
    """

    python_version: str
    requirements: tuple[str, ...]
    constraints: tuple[str, ...] = ()
    framework: str | None = None
    framework_version: str | None = None
    use_gpu: bool = False
    conda_packages: tuple[str, ...] = ()
    conda_channels: tuple[str, ...] = ()
    platform_name: str = f"{sys.platform}-{platform.machine()}"
    kind: str = VENV_KIND
    base: str | None = None
    base_digest: str | None = None
    dockerfile: str | None = None
    user_managed: bool = False
    apt_packages: tuple[str, ...] = ()
    horovod: str | None = None
    warnings: tuple[dict[str, Any], ...] = field(default=(), compare=False)

    def canonical(self) -> dict[str, Any]:
        """All inputs of the image as JSON; what the hash is taken over."""
        inputs = {
            "format": SPEC_FORMAT,
            "kind": self.kind,
            "platform": self.platform_name,
            "python_version": self.python_version,
            "framework": self.framework,
            "framework_version": self.framework_version,
            "use_gpu": self.use_gpu,
            "requirements": list(self.requirements),
            "constraints": list(self.constraints),
            "conda_packages": list(self.conda_packages),
            "conda_channels": list(self.conda_channels),
        }
        # Only where there are any, so that the hashes of earlier environments stay what they were.
        optional = {
            "base": self.base,
            "base_digest": self.base_digest,
            "dockerfile": self.dockerfile,
            "user_managed": self.user_managed,
            "apt_packages": list(self.apt_packages),
            "horovod": self.horovod,
        }
        return inputs | {name: value for name, value in optional.items() if value}

    @property
    def needs_base_digest(self) -> bool:
        """Whether its base is a name of which nobody has looked up yet what it names."""
        return self.base is not None and self.base_digest is None

    @property
    def compile_options(self) -> list[str]:
        """What makes uv compile modules when it installs them, where it can.

        It takes seconds once, else every first import in a run pays for it; uv's way of compiling
        needs Python 3.7.
        """
        minor = int(self.python_version.split(".")[1])
        return ["--compile-bytecode"] if minor >= 7 else []

    @property
    def spec_hash(self) -> str:
        """SHA-256 of the canonical JSON; names and versions of environments have no part in it."""
        text = json.dumps(self.canonical(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def from_canonical(cls, inputs: dict[str, Any]) -> "ResolvedSpec":
        """The inverse of :meth:`canonical`."""
        return cls(
            python_version=inputs["python_version"],
            requirements=tuple(inputs["requirements"]),
            constraints=tuple(inputs["constraints"]),
            framework=inputs["framework"],
            framework_version=inputs["framework_version"],
            use_gpu=inputs["use_gpu"],
            conda_packages=tuple(inputs["conda_packages"]),
            conda_channels=tuple(inputs["conda_channels"]),
            platform_name=inputs["platform"],
            kind=inputs["kind"],
            base=inputs.get("base"),
            base_digest=inputs.get("base_digest"),
            dockerfile=inputs.get("dockerfile"),
            user_managed=inputs.get("user_managed", False),
            apt_packages=tuple(inputs.get("apt_packages", ())),
            horovod=inputs.get("horovod"),
        )
