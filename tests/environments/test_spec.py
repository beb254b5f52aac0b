"""Specifications: what is taken, what is refused and where, and one hash for one meaning."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.utils import canonicalize_name
from pydantic import ValidationError

from app.environments.resolved import ResolvedSpec
from app.environments.spec import EnvironmentSpec

NAMES = st.from_regex(r"[A-Za-z][A-Za-z0-9]{0,8}([-_.][A-Za-z0-9]{1,4}){0,2}", fullmatch=True)
VERSIONS = st.from_regex(r"(==|>=|<=|~=)[1-9]\.[0-9]{1,2}", fullmatch=True)
LINES = st.dictionaries(
    NAMES.map(canonicalize_name), st.lists(VERSIONS, max_size=2, unique=True), max_size=6
)


def error_of(**fields: Any) -> tuple[str, str]:
    """Where the first error of a specification is, and its type."""
    with pytest.raises(ValidationError) as caught:
        EnvironmentSpec(**fields)
    first = caught.value.errors()[0]
    return "/".join(str(part) for part in first["loc"]), first["type"]


@given(packages=LINES, data=st.data())
def test_spelling_and_order_do_not_matter(
    packages: dict[str, list[str]], data: st.DataObject
) -> None:
    plain = [name + ",".join(versions) for name, versions in packages.items()]
    varied = [
        f" {name.upper().replace('-', data.draw(st.sampled_from('-_.')))} "
        + " , ".join(data.draw(st.permutations(versions)))
        for name, versions in packages.items()
    ]
    one = EnvironmentSpec(pip_packages=plain)
    other = EnvironmentSpec(pip_packages=data.draw(st.permutations(varied + plain)))
    assert one.pip_packages == other.pip_packages
    assert len(one.pip_packages) == len(packages)


@given(packages=LINES)
def test_the_canonical_form_is_its_own_canonical_form(packages: dict[str, list[str]]) -> None:
    lines = [name + ",".join(versions) for name, versions in packages.items()]
    once = EnvironmentSpec(pip_packages=lines)
    assert EnvironmentSpec.model_validate(once.model_dump()) == once


@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("--index-url https://evil.example/simple", "requirement_option"),
        ("-e .", "requirement_option"),
        ("-r more.txt", "requirement_option"),
        ("git+https://example.org/x.git", "requirement_url"),
        ("x @ https://example.org/x.whl", "requirement_url"),
        ("x@file:///etc/passwd", "requirement_url"),
        ("./local", "requirement_path"),
        ("/abs/local.whl", "requirement_path"),
        ("folder/local", "requirement_path"),
        ("..\\local", "requirement_path"),
        ("six\n--index-url=https://evil.example", "requirement_invalid"),
        ("six --hash=sha256:00", "requirement_invalid"),
        ("six=1.0", "requirement_invalid"),
        ("", "requirement_invalid"),
        ("x" * 501, "requirement_invalid"),
    ],
)
def test_what_would_bring_code_from_elsewhere_is_refused(line: str, code: str) -> None:
    assert error_of(pip_packages=["six", line]) == ("pip_packages/1", code)


@pytest.mark.parametrize(
    "line", ["--reinstall", "bash-", "tree/sid", "./a.deb", "https://x.example/a.deb", "a b", "a;b",
             "tree=1\nbash", "Tree", ""],
)  # fmt: skip
def test_debian_packages_are_names_and_versions_only(line: str) -> None:
    assert error_of(apt_packages=["tree", line]) == ("apt_packages/1", "apt_package_invalid")
    taken = ["g++", "git=1:2.39.5-0+deb12u2", "libgl1"]
    assert EnvironmentSpec(apt_packages=[*taken, *taken]).apt_packages == taken


def test_one_package_in_two_versions_is_refused() -> None:
    assert error_of(pip_packages=["Six==1.0", "six>=1.1"]) == (
        "pip_packages",
        "requirement_conflict",
    )
    assert EnvironmentSpec(pip_packages=["six", "SIX>=1"]).pip_packages == ["six>=1"]


def test_markers_and_extras_are_kept() -> None:
    spec = EnvironmentSpec(pip_packages=['Six[B,a] >=1; python_version < "4"'])
    assert spec.pip_packages == ['six[a,b]>=1; python_version < "4"']


@pytest.mark.parametrize(
    ("fields", "where"),
    [
        ({"framework": "pytorch"}, "framework"),
        ({"framework_version": "2.15"}, ""),
        ({"framework": "tensorflow", "framework_version": "latest"}, "framework_version"),
        ({"framework": "tensorflow", "framework_version": "2.15; rm"}, "framework_version"),
        ({"python_version": "2.7"}, "python_version"),
        ({"python_version": "three"}, "python_version"),
        ({"conda_packages": ["-c evil"]}, "conda_packages/0"),
        ({"conda_packages": ["x::y"]}, "conda_packages/0"),
        ({"conda_channels": ["https://evil.example"]}, "conda_channels/0"),
        ({"conda_channels": ["-c"]}, "conda_channels/0"),
        ({"conda_packages": ["python=3.7"], "python_version": "3.8"}, ""),
        ({"environment_variables": {"A B": "1"}}, "environment_variables/A B/[key]"),
        ({"environment_variables": {"A": "\0"}}, "environment_variables/A"),
        ({"pip_package": ["six"]}, "pip_package"),
    ],
)
def test_errors_name_the_field(fields: dict[str, Any], where: str) -> None:
    assert error_of(**fields)[0] == where


def test_conda_s_python_and_pip_are_no_conda_packages() -> None:
    spec = EnvironmentSpec(conda_packages=["python=3.7.3", "pip"])
    assert (spec.python_version, spec.conda_packages) == ("3.7", [])


def test_the_patch_release_of_python_is_left_out() -> None:
    assert EnvironmentSpec(python_version="3.6.2").python_version == "3.6"


def test_the_hash_is_over_every_input_and_survives_json() -> None:
    base = ResolvedSpec(python_version="3.11", requirements=("six",))
    variants = [
        base,
        ResolvedSpec(python_version="3.12", requirements=("six",)),
        ResolvedSpec(python_version="3.11", requirements=("six", "x")),
        ResolvedSpec(python_version="3.11", requirements=("six",), constraints=("x<2",)),
        ResolvedSpec(python_version="3.11", requirements=("six",), kind="docker"),
        ResolvedSpec(python_version="3.11", requirements=("six",), platform_name="linux-aarch64"),
        ResolvedSpec(python_version="3.11", requirements=("six",), conda_packages=("x",)),
    ]
    assert len({variant.spec_hash for variant in variants}) == len(variants)
    for variant in variants:
        assert ResolvedSpec.from_canonical(variant.canonical()) == variant
