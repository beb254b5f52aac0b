"""The client can be installed alone: what it imports, it asks for."""

import ast
import sys
import tomllib
from importlib.metadata import packages_distributions

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.conftest import REPOSITORY

CLIENT = REPOSITORY / "client"


def imported() -> set[str]:
    """Return the packages that the client's modules import, outside of the standard library."""
    names: set[str] = set()
    for path in (CLIENT / "trainwright").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                names.add(node.module or "")
    return {name.partition(".")[0] for name in names} - sys.stdlib_module_names - {"trainwright"}


def test_what_it_imports_is_what_it_asks_for() -> None:
    project = tomllib.loads((CLIENT / "pyproject.toml").read_text())["project"]
    optional = [
        line for lines in project.get("optional-dependencies", {}).values() for line in lines
    ]
    asked = {
        canonicalize_name(Requirement(line).name) for line in [*project["dependencies"], *optional]
    }
    distributions = packages_distributions()

    used = {canonicalize_name(distributions[name][0]) for name in imported()}

    assert used == asked
