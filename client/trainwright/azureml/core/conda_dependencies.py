"""Packages of an environment, as a conda environment file says them."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from trainwright.azureml._unsupported import leave_aside
from trainwright.azureml.exceptions import UserErrorException

_PYTHON = "python"


class CondaDependencies:
    """Conda packages, pip packages and channels.

    Args:
        conda_dependencies_file_path: a conda environment file to begin with.
        _underlying_structure: the content of one.
    """

    def __init__(
        self,
        conda_dependencies_file_path: str | None = None,
        _underlying_structure: dict[str, Any] | None = None,
    ) -> None:
        content: Any = _underlying_structure or {}
        if conda_dependencies_file_path is not None:
            try:
                text = Path(conda_dependencies_file_path).read_text(encoding="utf-8")
                content = yaml.safe_load(text)
            except (OSError, yaml.YAMLError) as error:
                raise UserErrorException(
                    f"{conda_dependencies_file_path} is no conda environment file: {error}"
                ) from None
        if not isinstance(content, dict):
            raise UserErrorException("A conda environment file is a mapping of names.")
        self._channels: list[str] = list(content.get("channels") or [])
        self._conda: list[str] = []
        self._pip: list[str] = []
        for line in content.get("dependencies") or []:
            if isinstance(line, dict):
                self._pip += line.get("pip") or []
            else:
                self._conda.append(str(line))

    @staticmethod
    def create(
        pip_indexurl: str | None = None,
        pip_packages: Sequence[str] | None = None,
        conda_packages: Sequence[str] | None = None,
        python_version: str | None = None,
        pin_sdk_version: bool = True,
    ) -> "CondaDependencies":
        """Make one of packages.

        Args:
            pip_indexurl: left aside: the server's index is the operator's to set.
            pip_packages: requirements for pip.
            conda_packages: of conda.
            python_version: '3.7'; None: the newest at the server that fits.
            pin_sdk_version: Azure's own packages are left out by the server anyway.
        """
        leave_aside(
            "CondaDependencies.create", "The package index is the operator's to set.",
            pip_indexurl=pip_indexurl,
        )  # fmt: skip
        made = CondaDependencies()
        for package in pip_packages or []:
            made.add_pip_package(package)
        for package in conda_packages or []:
            made.add_conda_package(package)
        if python_version is not None:
            made.set_python_version(python_version)
        return made

    @property
    def conda_channels(self) -> list[str]:
        """Channels, in order of priority."""
        return list(self._channels)

    @property
    def conda_packages(self) -> list[str]:
        """Conda packages, without Python itself."""
        return [line for line in self._conda if _name(line) != _PYTHON]

    @property
    def pip_packages(self) -> list[str]:
        """Requirements for pip."""
        return list(self._pip)

    @property
    def python_version(self) -> str | None:
        """The version of Python, if it is said."""
        found = [line for line in self._conda if _name(line) == _PYTHON]
        return re.sub(r"^python\s*=*\s*", "", found[0]) or None if found else None

    def add_conda_package(self, conda_package: str) -> None:
        """Add a conda package, or replace it by one of that name."""
        self.remove_conda_package(conda_package)
        self._conda.append(conda_package)

    def remove_conda_package(self, conda_package: str) -> None:
        """Remove a conda package by its name."""
        self._conda = [one for one in self._conda if _name(one) != _name(conda_package)]

    def add_pip_package(self, pip_package: str) -> None:
        """Add a requirement for pip, or replace it by one of that name."""
        self.remove_pip_package(pip_package)
        self._pip.append(pip_package)

    def remove_pip_package(self, pip_package: str) -> None:
        """Remove a requirement for pip by its name."""
        self._pip = [one for one in self._pip if _name(one) != _name(pip_package)]

    def add_channel(self, channel: str) -> None:
        """Add a channel of conda's."""
        if channel not in self._channels:
            self._channels.append(channel)

    def remove_channel(self, channel: str) -> None:
        """Remove a channel of conda's."""
        self._channels = [one for one in self._channels if one != channel]

    def set_python_version(self, version: str) -> None:
        """Say which Python."""
        self.add_conda_package(f"python={version}")

    def add_tensorflow_pip_package(
        self, core_type: str = "cpu", version: str | None = None
    ) -> None:
        """Add TensorFlow, of a version or the newest."""
        self._add_tensorflow(core_type, version)

    def add_tensorflow_conda_package(
        self, core_type: str = "cpu", version: str | None = None
    ) -> None:
        """Add TensorFlow, of a version or the newest; from pip, like everything else here."""
        self._add_tensorflow(core_type, version)

    def _add_tensorflow(self, core_type: str, version: str | None) -> None:
        name = "tensorflow-gpu" if core_type == "gpu" and version else "tensorflow"
        self.add_pip_package(f"{name}=={version}" if version else name)

    def as_dict(self) -> dict[str, Any]:
        """The content of a conda environment file."""
        lines: list[Any] = list(self._conda)
        if self._pip:
            lines.append({"pip": list(self._pip)})
        return {
            "name": "project_environment",
            "channels": list(self._channels),
            "dependencies": lines,
        }

    def serialize_to_string(self) -> str:
        """The text of a conda environment file."""
        text: str = yaml.safe_dump(self.as_dict(), sort_keys=False)
        return text

    def save_to_file(self, base_directory: str, conda_file_path: str | None = None) -> str:
        """Write a conda environment file, and return its name."""
        name = conda_file_path or "conda_dependencies.yml"
        (Path(base_directory) / name).write_text(self.serialize_to_string(), encoding="utf-8")
        return name

    save = save_to_file

    @staticmethod
    def merge_requirements(requirements: Iterable[str]) -> list[str]:
        """The requirements, one a name, the last one said."""
        return list({_name(line): line for line in requirements}.values())


def _name(line: str) -> str:
    return re.split(r"[\[=<>!~; ]", line.strip(), maxsplit=1)[0].lower().replace("_", "-")
