"""Import rules that import-linter has no contract type for."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
# What may be imported besides the standard library: the planner sorts arrays (decision 0018).
STANDARD_LIBRARY_AND: dict[str, set[str]] = {
    "app/scheduling": {"numpy"},
    "workers/runner": set(),
    "app/embedded/exec_child.py": set(),
}


def _sources(place: str) -> list[Path]:
    path = REPOSITORY / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def _imported(path: Path) -> Iterator[str]:
    """Return the names of all modules that a file imports from elsewhere than beside it."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            yield node.module or ""


@pytest.mark.parametrize("place", STANDARD_LIBRARY_AND)
def test_standard_library_alone(place: str) -> None:
    sources = _sources(place)
    # azureml: the stand-in imports itself by the name that scripts know it by.
    own = {"azureml", *(path.stem for path in sources), *STANDARD_LIBRARY_AND[place]}
    foreign = {
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in sources
        for name in _imported(path)
        if name.partition(".")[0] not in sys.stdlib_module_names
        and name.partition(".")[0] not in own
        and not name.startswith(place.replace("/", "."))
    }
    assert sources
    assert foreign == set()


@pytest.mark.parametrize("package", ["app", "workers"])
def test_no_code_in_package_files(package: str) -> None:
    with_code = [
        str(path.relative_to(REPOSITORY))
        for path in (REPOSITORY / package).rglob("__init__.py")
        # These have the shape of the package that they stand in for, or lie before.
        if not {"standin", "beside_azureml"} & set(path.parts)
        and any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)
    ]
    assert with_code == []
