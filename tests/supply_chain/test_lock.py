"""What is installed: pinned by hash, from one index, and nothing that is known to be broken."""

import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from tests.supply_chain.advisories import NO_ADVISORIES, NotLookedUp, exported, vulnerabilities

REPOSITORY = Path(__file__).parents[2]
INDEX = "https://pypi.org/simple"
FILES = "https://files.pythonhosted.org/"
OURS = {"trainwright", "trainwright-service"}
# Each is the first version without a hole that concerns how we use it.
FLOORS = {
    "celery": ("5.2.2", "CVE-2021-23727: objects from the results of tasks"),
    "cryptography": ("44.0.1", "CVE-2024-12797"),
    "h11": ("0.16.0", "CVE-2025-43859: chunked bodies read in two ways"),
    "jinja2": ("3.1.6", "CVE-2025-27516"),
    "joserfc": ("1.3.5", "CVE-2025-65015: tokens without end in errors"),
    "pillow": ("11.3.0", "CVE-2025-48379"),
    "requests": ("2.32.4", "CVE-2024-47081: credentials for other hosts"),
    "starlette": ("0.49.1", "CVE-2025-62727: Range in quadratic time"),
    "urllib3": ("2.6.0", "CVE-2025-66418, CVE-2025-66471: decompression without end"),
}


@pytest.fixture(scope="module")
def packages() -> list[dict[str, Any]]:
    document = tomllib.loads((REPOSITORY / "uv.lock").read_text())
    found: list[dict[str, Any]] = document["package"]
    return found


def test_everything_is_pinned_by_hash_and_comes_from_one_index(
    packages: list[dict[str, Any]],
) -> None:
    for package in packages:
        if package["name"] in OURS:
            continue
        assert package["source"] == {"registry": INDEX}, package["name"]
        files = [*package.get("wheels", []), *filter(None, [package.get("sdist")])]
        assert files, package["name"]
        for file in files:
            assert file["hash"].startswith("sha256:"), file
            assert file["url"].startswith(FILES), file


def test_nothing_is_older_than_the_end_of_a_hole_we_know(packages: list[dict[str, Any]]) -> None:
    for package in packages:
        if package["name"] in FLOORS:
            least, why = FLOORS[package["name"]]
            assert Version(package["version"]) >= Version(least), (package["name"], why)


def test_no_vulnerability_is_known(tmp_path: Path) -> None:
    requirements = tmp_path / "requirements.txt"
    requirements.write_text(exported("--no-header"))
    try:
        found = vulnerabilities(requirements)
    except NotLookedUp as reason:
        pytest.skip(f"{NO_ADVISORIES}: {reason}")
    assert found == {}, "known vulnerabilities: take newer versions into the lock"


def test_the_bill_of_materials_names_everything_that_is_installed(
    packages: list[dict[str, Any]],
) -> None:
    bill = json.loads(exported("--format", "cyclonedx1.5"))
    named = {(each["name"], each.get("version")) for each in bill["components"]}
    pinned = exported("--no-header", "--no-hashes", "--no-annotate")
    wanted = {line.split(";")[0].strip() for line in pinned.splitlines() if "==" in line}
    assert {f"{name}=={version}" for name, version in named} >= wanted
    assert len(wanted) > 50
