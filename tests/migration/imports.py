"""Changing the import lines of a notebook, and nothing else."""

import ast


def with_our_imports(source: str) -> str:
    """The source with each import of ``azureml`` made one of ``trainwright.azureml``.

    What looks like an import in a text, such as a script that the notebook writes, stays.
    """
    lines = source.splitlines(keepends=True)
    for node in ast.walk(ast.parse(source)):
        index = node.lineno - 1 if isinstance(node, ast.stmt) else -1
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "azureml":
            lines[index] = lines[index].replace("from azureml", "from trainwright.azureml", 1)
        elif isinstance(node, ast.Import) and node.names[0].name.split(".")[0] == "azureml":
            lines[index] = lines[index].replace(
                f"import {node.names[0].name}", "from trainwright import azureml", 1
            )
    return "".join(lines)
