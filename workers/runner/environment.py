"""Arguments and environment of a node's processes."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from workers.runner.errors import PrepareError
from workers.runner.order import Order, OrderProcess

_PLACE = re.compile(r"\$\{\{\s*inputs\.([^}\s]+)\s*\}\}")
# Of the runner's own interpreter and of the control plane; a script must not inherit them.
_OWN_NAMES = frozenset({"PYTHONHOME", "PYTHONPATH", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"})
_OWN_PREFIX = "TRAINWRIGHT_"


def resolve(value: Any, input_paths: dict[str, str]) -> str:
    """Return a literal string as it is, a template with the folders of its inputs put in.

    Raises:
        PrepareError: the template names an input that the order does not have.
    """
    if not isinstance(value, dict):
        return str(value)

    def folder(match: re.Match[str]) -> str:
        try:
            return input_paths[match.group(1)]
        except KeyError:
            message = f"an argument names the input {match.group(1)!r}, which the run has not"
            raise PrepareError("unknown_input", message) from None

    return _PLACE.sub(folder, str(value["template"]))


def process_environment(
    order: Order,
    process: OrderProcess,
    *,
    input_paths: dict[str, str],
    records_path: str,
    standin_dir: str,
    beside_azureml_dir: str,
) -> dict[str, str]:
    """Return the whole environment of one process.

    Later ones win: the runner's own, the inputs' names, the order's, the process's, and last
    what the runner needs to find leftovers and records again.
    """
    inherited = {
        name: value
        for name, value in os.environ.items()
        if name not in _OWN_NAMES and not name.startswith(_OWN_PREFIX)
    }
    environment = {"PYTHONUNBUFFERED": "1", **inherited}
    for name, path in input_paths.items():
        environment["AZUREML_DATAREFERENCE_" + name] = path
        environment["AZURE_ML_INPUT_" + name] = path
        if name not in inherited:
            environment[name] = path
    for values in (order.environment, process.environment):
        for name, value in values.items():
            environment[name] = resolve(value, input_paths)
    environment["TRAINWRIGHT_NODE"] = order.name
    environment["TRAINWRIGHT_RECORDS"] = records_path
    environment["TRAINWRIGHT_INPUTS"] = json.dumps(input_paths)
    _append(environment, "PATH", before=order.path_prepend)
    if order.is_standin_wanted:
        _append(environment, "PYTHONPATH", after=[standin_dir])
    elif order.kind == "run":
        _append(environment, "PYTHONPATH", after=[beside_azureml_dir])
    return environment


def _append(
    environment: dict[str, str],
    name: str,
    *,
    before: list[str] | None = None,
    after: list[str] | None = None,
) -> None:
    present = [environment[name]] if environment.get(name) else []
    if name == "PATH" and not present:
        present = [os.defpath]
    environment[name] = os.pathsep.join([*(before or []), *present, *(after or [])])
