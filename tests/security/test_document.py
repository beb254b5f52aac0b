"""What docs/security.md promises has the tests that it names."""

import ast
import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
_TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def test_every_test_that_is_named_is_there() -> None:
    rows = [
        line
        for line in (REPOSITORY / "docs" / "security.md").read_text().splitlines()
        if line.startswith("| ") and not line.startswith(("| Protection", "| ---"))
    ]
    missing = []
    for row in rows:
        named = _TEST.findall(row)
        assert named, row
        for path, name in named:
            source = REPOSITORY / path
            tree = ast.parse(source.read_text()) if source.exists() else ast.parse("")
            functions = {
                node.name
                for node in tree.body
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
            }
            if not source.exists() or (name and name not in functions):
                missing.append(f"{path}::{name}")
    assert missing == []
    assert len(rows) > 20
