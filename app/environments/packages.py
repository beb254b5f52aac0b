"""Package names as users may give them: pip requirements, conda and Debian packages.

Only names with versions from the operator's package index are taken. Options, addresses and paths
would let a request choose where code comes from (see the dependency confusion of torchtriton,
December 2022), so they are refused line by line.
"""

import re
from collections.abc import Iterable

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from pydantic_core import PydanticCustomError

MAX_LINE_LENGTH = 500
_CONDA_SPECIFICATION = re.compile(
    r"^(?P<name>[A-Za-z0-9_][A-Za-z0-9_.-]*)(?P<version>\s*[=<>!~][A-Za-z0-9_.*+,|<>=!~ -]*)?$"
)
# With a minus at its end, apt would remove the package.
_APT_PACKAGE = re.compile(
    r"^[a-z0-9][a-z0-9+.-]{0,100}[a-z0-9+](=[A-Za-z0-9][A-Za-z0-9.+~:-]{0,100})?$"
)
_CONDA_CHANNEL = re.compile(r"^[A-Za-z0-9][A-Za-z0-9_.-]*(/[A-Za-z0-9][A-Za-z0-9_.-]*)*$")


def canonical_requirement(line: str) -> str:
    """The one spelling of a pip requirement: name by PEP 503, extras and versions sorted.

    Args:
        line: what the user wrote, e.g. ``Pillow >= 9, <10``.

    Raises:
        PydanticCustomError: not a plain requirement; the type says why.
    """
    text = line.strip()
    _refuse_foreign_sources(text)
    try:
        requirement = Requirement(text)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise PydanticCustomError(
            "requirement_invalid",
            "This is no requirement such as 'name', 'name==1.2' or 'name[extra]>=1,<2': {reason}",
            {"reason": reason},
        ) from None
    return _spelled(requirement)


def merge_requirements(lines: Iterable[str]) -> list[str]:
    """Canonical requirements sorted, each once.

    A bare name beside the same package with a version adds nothing and is dropped.

    Raises:
        PydanticCustomError: one package is asked for twice in different versions.
    """
    by_key: dict[tuple[str, str], Requirement] = {}
    for line in lines:
        requirement = Requirement(line)
        key = (requirement.name, str(requirement.marker or ""))
        earlier = by_key.get(key)
        by_key[key] = requirement if earlier is None else _merged(earlier, requirement)
    return sorted(_spelled(requirement) for requirement in by_key.values())


def canonical_conda_package(line: str) -> str:
    """The one spelling of a conda specification: name in lower case, no blanks.

    Raises:
        PydanticCustomError: an option, an address, a path, or not a specification.
    """
    text = line.strip()
    _refuse_foreign_sources(text)
    match = _CONDA_SPECIFICATION.match(text)
    if match is None:
        raise PydanticCustomError(
            "conda_package_invalid",
            "This is no conda package such as 'name' or 'name=1.2'; name channels in "
            "conda_channels.",
        )
    return match["name"].lower() + re.sub(r"\s+", "", match["version"] or "")


def canonical_conda_channel(line: str) -> str:
    """A conda channel by its name; addresses are the operator's to configure.

    Raises:
        PydanticCustomError: not a name.
    """
    text = line.strip()
    if not _CONDA_CHANNEL.match(text):
        raise PydanticCustomError(
            "conda_channel_invalid", "Give channels by name, e.g. 'conda-forge', not by address."
        )
    return text


def canonical_apt_package(line: str) -> str:
    """A Debian package by name, or ``name=version``; Debian policy 5.6.1 and 5.6.12 say how.

    Raises:
        PydanticCustomError: an option, a path, or not a package.
    """
    text = line.strip()
    if not _APT_PACKAGE.match(text):
        raise PydanticCustomError(
            "apt_package_invalid",
            "This is no Debian package such as 'libgl1' or 'libgl1=1.6.0-1'; packages come from "
            "the sources that the base image names.",
        )
    return text


def conda_name(specification: str) -> str:
    """The package name in a canonical conda specification."""
    return re.split(r"[=<>!~]", specification, maxsplit=1)[0]


def _refuse_foreign_sources(text: str) -> None:
    if not text or not text.isprintable() or len(text) > MAX_LINE_LENGTH:
        raise PydanticCustomError(
            "requirement_invalid",
            "One package on one line of 1 to {limit} printable characters.",
            {"limit": MAX_LINE_LENGTH},
        )
    if text.startswith("-"):
        raise PydanticCustomError(
            "requirement_option",
            "Options of the installer are not taken here; name packages only. The package index "
            "is set by whoever operates this service.",
        )
    if "://" in text or " @ " in text or re.match(r"^[\w.\[\],-]+\s*@", text):
        raise PydanticCustomError(
            "requirement_url",
            "Packages come from the package index, not from addresses or version control.",
        )
    if text.startswith((".", "/", "~")) or "\\" in text or re.match(r"^[^;]*/", text):
        raise PydanticCustomError(
            "requirement_path",
            "Packages come from the package index, not from folders or files; put own code into "
            "the source folder of the run.",
        )


def _merged(one: Requirement, other: Requirement) -> Requirement:
    if _spelled(one) == _spelled(other) or _is_bare(other):
        return one
    if _is_bare(one):
        return other
    raise PydanticCustomError(
        "requirement_conflict",
        "The package {name} is asked for twice and differently: '{one}' and '{other}'.",
        {"name": one.name, "one": _spelled(one), "other": _spelled(other)},
    )


def _is_bare(requirement: Requirement) -> bool:
    return not requirement.extras and not requirement.specifier


def _spelled(requirement: Requirement) -> str:
    extras = sorted({canonicalize_name(extra) for extra in requirement.extras})
    versions = ",".join(sorted(str(part) for part in SpecifierSet(str(requirement.specifier))))
    text = str(canonicalize_name(requirement.name))
    text += f"[{','.join(extras)}]" if extras else ""
    text += versions
    return f"{text}; {requirement.marker}" if requirement.marker else text
