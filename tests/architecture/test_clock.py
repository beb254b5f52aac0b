"""Moments that several machines compare are those of the database's clock."""

import ast
from pathlib import Path

WORKERS = Path(__file__).parents[2] / "workers"
# What runs on nodes measures its own time, and tells how long ago something was.
ON_NODES = ("runner", "serving")
OF_THIS_MACHINE = {"utc_now", "time.time", "datetime.now"}


def test_workers_decide_by_no_clock_of_their_own() -> None:
    found = []
    for path in WORKERS.rglob("*.py"):
        if path.relative_to(WORKERS).parts[0] in ON_NODES:
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in OF_THIS_MACHINE:
                found.append(f"{path.name}:{node.lineno}")
    assert found == []
