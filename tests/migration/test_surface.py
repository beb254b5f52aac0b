"""Every call of the v1 SDK's surface is there, with the same arguments in the same order."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from trainwright.azureml import core
from trainwright.azureml.core import (
    compute,
    model,
    resource_configuration,
    runconfig,
    script_run,
    script_run_config,
    webservice,
)
from trainwright.azureml.data import (
    abstract_dataset,
    dataset_consumption_config,
    dataset_factory,
    file_dataset,
)
from trainwright.azureml.train import dnn, estimator, hyperdrive

SURFACE = Path(__file__).with_name("surface.txt")
_MODULES = (
    core, compute, model, resource_configuration, runconfig, script_run, script_run_config,
    webservice, abstract_dataset, dataset_consumption_config, dataset_factory, file_dataset, dnn,
    estimator, hyperdrive,
)  # fmt: skip
_OWN = ("self", "cls")


def _entries() -> Iterator[tuple[str, str]]:
    owner = ""
    for line in SURFACE.read_text().splitlines():
        if line.startswith("    "):
            yield owner, line.strip()
        elif not line.startswith("#"):
            owner = line


def _class(name: str) -> Any:
    return next(getattr(module, name) for module in _MODULES if hasattr(module, name))


def _wanted(signature: str) -> list[tuple[str, str, object]]:
    """Kind, name and default of each argument that the surface has."""
    function = ast.parse(f"def {signature}: ...").body[0]
    assert isinstance(function, ast.FunctionDef)
    arguments = function.args
    plain = [one.arg for one in arguments.args]
    missing = len(plain) - len(arguments.defaults)
    defaults: list[ast.expr | None] = [*[None] * missing, *arguments.defaults]
    found = [("plain", name, _literal(one)) for name, one in zip(plain, defaults, strict=True)]
    found += [
        ("keyword", one.arg, _literal(default))
        for one, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
    ]
    return [one for one in found if one[1] not in _OWN and not one[1].startswith("_")]


def _literal(node: ast.expr | None) -> object:
    """A default; those that are constants of other modules are not compared."""
    if node is None:
        return inspect.Parameter.empty
    return node.value if isinstance(node, ast.Constant) else ...


@pytest.mark.parametrize(("owner", "entry"), list(_entries()))
def test_a_call_of_the_surface_is_there(owner: str, entry: str) -> None:
    found = _class(owner)
    name = entry.split("(")[0].split(" ")[0]
    if entry.endswith("(property)"):
        assert hasattr(found, name), f"{owner} has no {name}"
        return
    if isinstance(inspect.getattr_static(found, name), property):
        return  # the setter of a property
    parameters = inspect.signature(getattr(found, name)).parameters
    ours = [
        (
            "keyword" if one.kind is one.KEYWORD_ONLY else "plain",
            one.name,
            one.default,
        )
        for one in parameters.values()
        if one.name not in _OWN
        and not one.name.startswith("_")
        and one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)
    ]
    wanted = _wanted(entry)
    assert [one[:2] for one in ours][: len(wanted)] == [one[:2] for one in wanted]
    for (_, argument, default), (_, _, ours_default) in zip(wanted, ours, strict=False):
        assert default is ... or default == ours_default, (argument, ours_default)
    assert all(one[2] is not inspect.Parameter.empty for one in ours[len(wanted) :])


def test_the_surface_is_not_empty() -> None:
    assert len(list(_entries())) > 150
