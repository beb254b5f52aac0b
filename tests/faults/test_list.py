"""Each fault of the list in the documentation has a test that injects it, or says why not."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "faults.md"
COUNT = 54
_ROW = re.compile(r"^\| (\d+) \| ([^|]+) \| ([^|]+) \| (.+) \|$", re.MULTILINE)
_TEST = re.compile(r"`([\w/]+\.py)::(\w+)`")


def marked() -> Iterator[tuple[int, str, str]]:
    """(number, file, function) of every test that is marked with a fault."""
    for path in sorted(TESTS.rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            for mark in node.decorator_list:
                if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.fault":
                    for number in mark.args:
                        assert isinstance(number, ast.Constant)
                        yield int(str(number.value)), str(path.relative_to(TESTS)), node.name


def test_the_page_lists_every_fault_with_the_tests_that_are_marked_with_it() -> None:
    rows = {int(number): cell for number, _, _, cell in _ROW.findall(PAGE.read_text())}
    found: dict[int, set[tuple[str, str]]] = {number: set() for number in rows}
    for number, file, name in marked():
        found[number].add((file, name))

    assert list(rows) == list(range(1, COUNT + 1))
    for number, cell in rows.items():
        assert set(_TEST.findall(cell)) == found[number], number
        if not found[number]:
            assert cell.startswith("None: "), f"fault {number} has neither a test nor a reason"
