"""What a user asks an environment to be."""

import re
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from app.environments.image_names import canonical_image
from app.environments.packages import (
    canonical_apt_package,
    canonical_conda_channel,
    canonical_conda_package,
    canonical_requirement,
    conda_name,
    merge_requirements,
)

MAX_PACKAGES = 500
MAX_VARIABLES = 200
MAX_DOCKERFILE_LENGTH = 64 * 1024
MAX_VARIABLE_BYTES = 32 * 1024
_LONGEST_VERSION = 20
_PYTHON_VERSION = re.compile(r"^3\.(\d{1,2})(\.\d{1,2})?$")
_CONDA_PYTHON = re.compile(r"^python(?:={1,2}|~=)(3\.\d{1,2})(\.[\d*]+)?$")


def _lower(value: object) -> object:
    return value.strip().lower() if isinstance(value, str) else value


def _minor_version(value: str) -> str:
    """Interpreters are told apart by minor version; Azure's scripts also write 3.6.2."""
    match = _PYTHON_VERSION.match(value.strip())
    if match is None:
        raise PydanticCustomError(
            "python_version_invalid", "Write the Python version as '3.7' or '3.11'."
        )
    return f"3.{int(match[1])}"


def _variable_value(value: str) -> str:
    if "\0" in value or len(value.encode()) > MAX_VARIABLE_BYTES:
        raise PydanticCustomError(
            "environment_variable_invalid",
            "A value has no NUL character and at most {limit} bytes.",
            {"limit": MAX_VARIABLE_BYTES},
        )
    return value


def _short_version(value: str) -> str:
    if not value.isascii() or len(value) > _LONGEST_VERSION:
        raise ValueError(f"A version has at most {_LONGEST_VERSION} characters of ASCII.")
    return value


FrameworkVersion = Annotated[
    str,
    Field(pattern=r"^\d{1,2}(\.\d{1,3}){0,2}(\.post\d+)?$", examples=["2.15", "1.13.1"]),
    AfterValidator(_short_version),
]
PythonVersion = Annotated[str, AfterValidator(_minor_version)]
VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=200)]
VariableValue = Annotated[str, AfterValidator(_variable_value)]


class EnvironmentSpec(BaseModel):
    """A framework, a Python and packages; each field is in its canonical form once validated.

    ``environment_variables`` are given to the run and have no part in the image.
    """

    model_config = ConfigDict(extra="forbid")

    framework: Annotated[Literal["tensorflow"] | None, BeforeValidator(_lower)] = None
    framework_version: FrameworkVersion | None = Field(
        default=None, description="'2', '2.15' or '2.15.1'; absent: the newest that can be had"
    )
    python_version: PythonVersion | None = Field(
        default=None,
        description="'3.7'; absent: the newest here that the framework version supports",
    )
    use_gpu: bool = False
    pip_packages: Annotated[
        list[Annotated[str, AfterValidator(canonical_requirement)]],
        Field(max_length=MAX_PACKAGES),
        AfterValidator(merge_requirements),
    ] = Field(default=[], examples=[["pillow>=9", "matplotlib"]])
    conda_packages: Annotated[
        list[Annotated[str, AfterValidator(canonical_conda_package)]],
        Field(max_length=MAX_PACKAGES),
        AfterValidator(lambda lines: sorted(set(lines))),
    ] = []
    conda_channels: Annotated[
        list[Annotated[str, AfterValidator(canonical_conda_channel)]], Field(max_length=20)
    ] = Field(default=[], description="in order of priority")
    apt_packages: Annotated[
        list[Annotated[str, AfterValidator(canonical_apt_package)]],
        Field(max_length=MAX_PACKAGES),
        AfterValidator(lambda lines: sorted(set(lines))),
    ] = Field(
        default=[],
        examples=[["libgl1", "ffmpeg"]],
        description="Debian packages; only where environments are container images",
    )
    base_image: Annotated[str, AfterValidator(canonical_image)] | None = Field(
        default=None,
        examples=["tensorflow/tensorflow:2.15.0"],
        description="Instead of the operator's; with a framework, python_version must be said too",
    )
    dockerfile: str | None = Field(
        default=None,
        min_length=1,
        max_length=MAX_DOCKERFILE_LENGTH,
        description="What the base image is built by, without a build context",
    )
    user_managed: bool = Field(
        default=False,
        description="The base image has its Python and packages; only apt_packages are added",
    )
    environment_variables: Annotated[
        dict[VariableName, VariableValue], Field(max_length=MAX_VARIABLES)
    ] = {}

    @model_validator(mode="after")
    def _framework_named(self) -> Self:
        if self.framework is None and self.framework_version is not None:
            raise PydanticCustomError(
                "framework_missing", "framework_version needs a framework, e.g. 'tensorflow'."
            )
        return self

    @model_validator(mode="after")
    def _one_base(self) -> Self:
        if self.base_image is not None and self.dockerfile is not None:
            raise PydanticCustomError(
                "base_conflict", "Give base_image or dockerfile, not both: each is the base."
            )
        has_own_base = self.base_image is not None or self.dockerfile is not None
        if self.user_managed and not has_own_base:
            raise PydanticCustomError(
                "base_missing", "user_managed needs a base_image or a dockerfile with its Python."
            )
        installed = (self.framework, self.pip_packages, self.conda_packages)
        if self.user_managed and any(installed):
            raise PydanticCustomError(
                "user_managed_packages",
                "Nothing but Debian packages is installed in a user_managed environment: leave out "
                "framework and packages, or user_managed.",
            )
        if has_own_base and self.framework is not None and self.python_version is None:
            raise PydanticCustomError(
                "python_version_missing",
                "Say python_version: which Python the base has decides which framework versions "
                "can be had.",
            )
        return self

    @model_validator(mode="after")
    def _python_from_conda(self) -> Self:
        """``python=3.7`` among the conda packages means python_version; pip is always there."""
        rest = []
        for line in self.conda_packages:
            match = _CONDA_PYTHON.match(line)
            if match is not None and self.python_version in (None, match[1]):
                self.python_version = match[1]
            elif match is not None:
                raise PydanticCustomError(
                    "python_version_conflict",
                    "python_version is {one}, but conda_packages says {other}.",
                    {"one": self.python_version, "other": line},
                )
            elif conda_name(line) == "python":
                raise PydanticCustomError(
                    "python_version_invalid",
                    "Name one Python version, e.g. python_version '3.7', instead of '{line}'.",
                    {"line": line},
                )
            elif line != "pip":
                rest.append(line)
        self.conda_packages = rest
        return self
