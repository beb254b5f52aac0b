"""The operator's table of base images, and which one an environment starts from."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

KNOWN_PYTHONS = ("3.13", "3.12", "3.11", "3.10", "3.9", "3.8", "3.7", "3.6")
DEFAULT_KEY = "default"
_PYTHON_KEY = re.compile(r"^3\.\d{1,2}$")
_PYTHON_PLACE = "{python_version}"
_FRAMEWORK_PLACE = "{framework_version}"


@dataclass(frozen=True)
class BaseImages:
    """Base images by what an environment needs.

    Attributes:
        table: keys are tried in this order: ``conda`` (only with packages of conda),
            ``tensorflow-2.15-gpu``, ``tensorflow-gpu`` (both only with a GPU), ``tensorflow-2.15``,
            ``tensorflow``, a Python version such as ``3.11``, ``default``. ``{python_version}`` and
            ``{framework_version}`` in a value are filled in.
        allowed: patterns of the images that environments may name themselves.
        allows_dockerfiles: whether environments may have a Dockerfile of their own.
    """

    table: Mapping[str, str]
    allowed: Sequence[str] = ()
    allows_dockerfiles: bool = False

    def allows(self, name: str) -> bool:
        """Whether an environment may name this image as its base."""
        return any(fnmatchcase(name, pattern) for pattern in self.allowed)

    def python_versions(self) -> list[str]:
        """The Python minor versions that can be had, the newest first."""
        named = {key for key in self.table if _PYTHON_KEY.match(key)}
        if _PYTHON_PLACE in self.table.get(DEFAULT_KEY, ""):
            named |= set(KNOWN_PYTHONS)
        return sorted(named, key=lambda name: int(name.split(".")[1]), reverse=True)

    def base_of(
        self,
        *,
        python_version: str,
        framework: str | None,
        framework_version: str | None,
        use_gpu: bool,
        has_conda: bool = False,
    ) -> str:
        """The image that an environment starts from.

        Raises:
            StopIteration: the table has none; a Python of `python_versions` always has one.
        """
        series = ".".join((framework_version or "").split(".")[:2])
        keys = [python_version, DEFAULT_KEY]
        if framework is not None:
            keys = [f"{framework}-{series}", framework, *keys]
            if use_gpu:
                keys = [f"{framework}-{series}-gpu", f"{framework}-gpu", *keys]
        if has_conda:
            keys = ["conda", *keys]
        chosen = next(self.table[key] for key in keys if key in self.table)
        return chosen.replace(_PYTHON_PLACE, python_version).replace(
            _FRAMEWORK_PLACE, framework_version or ""
        )
