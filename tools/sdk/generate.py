"""Clients generated from the OpenAPI document, into ``build/sdk``; nothing of them is committed.

Four of them: ``python`` (openapi-python-client), ``python-urllib3`` and ``go`` (openapi-generator),
``typescript`` (hey-api). The two of openapi-generator are made of the 3.0 rendering, because its
support of 3.1 is not finished.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from app.openapi.older import as_3_0
from tools.openapi.document import current, render
from tools.toolbox import BUILD, node_programs, python_programs

_CONFIGURATION = Path(__file__).parent
FOLDER = BUILD / "sdk"
_SECONDS = 600
_VALIDATOR = "gopkg.in/validator.v2"
_GO_MODULES = FOLDER / "go-check.mod"


def generate(names: list[str]) -> dict[str, Path]:
    """Make these clients, and check their types.

    Args:
        names: of clients, as in the module's text.

    Returns:
        The folder of each.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    document = current()
    (FOLDER / "openapi.json").write_text(render(document))
    (FOLDER / "openapi-3.0.json").write_text(render(as_3_0(document)))
    with ThreadPoolExecutor() as pool:
        list(pool.map(_make, names))
    return {name: FOLDER / name for name in names}


def go(command: str, *words: str) -> None:
    """Run a command of Go in the folder of the generated client, which it knows as trainwright."""
    programs = python_programs()
    run = [str(programs / "go"), command, f"-modfile={_GO_MODULES}", *words]
    _run(run, programs, cwd=FOLDER / "go")


def _make(name: str) -> None:
    folder = FOLDER / name
    shutil.rmtree(folder, ignore_errors=True)
    CLIENTS[name](folder)


def _python(folder: Path) -> None:
    programs = python_programs()
    command = [str(programs / "openapi-python-client"), "generate", "--meta", "none", "--overwrite"]
    command += ["--path", str(FOLDER / "openapi.json"), "--fail-on-warning"]
    command += ["--config", str(_CONFIGURATION / "python.yaml")]
    folder.mkdir()
    _run([*command, "--output-path", str(folder / "trainwright_api")], programs)
    check = [str(programs / "mypy"), "--no-error-summary", "--cache-dir", str(FOLDER / ".mypy")]
    check += ["--strict", "--config-file", os.devnull]
    _run([*check, "-p", "trainwright_api"], programs, cwd=folder)


def _python_urllib3(folder: Path) -> None:
    programs = python_programs()
    _openapi_generator(folder, "python", "packageName=trainwright_api", "mapNumberTo=StrictFloat")
    check = [str(programs / "mypy"), "--no-error-summary", "--cache-dir", str(FOLDER / ".mypy-og")]
    # Defects of the generator: it writes null beside a union as an attribute of None, and appends
    # to a list what another list of the same name does not hold.
    check += ["--config-file", os.devnull, "--ignore-missing-imports"]
    left_out = ("import-untyped", "union-attr", "arg-type")
    check += [f"--disable-error-code={code}" for code in left_out]
    _run([*check, "-p", "trainwright_api"], programs, cwd=folder)


def _go(folder: Path) -> None:
    _openapi_generator(folder, "go", "packageName=trainwright", "isGoSubmodule=true")
    # The one module that it needs comes from no registry that every machine reaches: for the check
    # alone, something with the same function takes its place.
    stand_in = FOLDER / "go-validator"
    shutil.rmtree(stand_in, ignore_errors=True)
    stand_in.mkdir()
    (stand_in / "go.mod").write_text(f"module {_VALIDATOR}\n")
    (stand_in / "validator.go").write_text(
        "package validator\n\nfunc Validate(v interface{}) error { return nil }\n"
    )
    _GO_MODULES.write_text(
        f"module trainwright\n\ngo 1.23\n\nrequire {_VALIDATOR} v2.0.1\n\n"
        f"replace {_VALIDATOR} => {stand_in}\n"
    )
    go("vet", ".")


def _typescript(folder: Path) -> None:
    programs = node_programs()
    command = [str(programs / "openapi-ts"), "--input", str(FOLDER / "openapi.json")]
    _run([*command, "--output", str(folder), "--silent"], programs, cwd=FOLDER)
    check = [str(programs / "tsc"), "--noEmit", "--strict", "--skipLibCheck"]
    check += ["--target", "es2022", "--module", "nodenext", "--moduleResolution", "nodenext"]
    _run([*check, str(folder / "index.ts")], programs, cwd=folder)


def _openapi_generator(folder: Path, language: str, *properties: str) -> None:
    programs = python_programs()
    command = [str(programs / "openapi-generator-cli"), "generate", "--generator-name", language]
    command += ["--input-spec", str(FOLDER / "openapi-3.0.json"), "--output", str(folder)]
    command += ["--additional-properties", ",".join(("hideGenerationTimestamp=true", *properties))]
    left_out = ("apiTests", "modelTests", "apiDocs", "modelDocs")
    command += ["--global-property", ",".join(f"{name}=false" for name in left_out)]
    _run(command, programs)


def _run(command: list[str], programs: Path, *, cwd: Path | None = None) -> None:
    environment = {
        **os.environ,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "GOFLAGS": "-mod=mod",
        "GOPROXY": "off",
        "GOCACHE": str(FOLDER / ".go"),
        "npm_config_update_notifier": "false",
    }
    done = subprocess.run(
        command,
        cwd=cwd,
        env=environment,
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    if done.returncode != 0:
        raise SystemExit(f"{' '.join(command)}\n{done.stdout[-6000:]}\n{done.stderr[-6000:]}")


CLIENTS: dict[str, Callable[[Path], None]] = {
    "python": _python,
    "python-urllib3": _python_urllib3,
    "go": _go,
    "typescript": _typescript,
}


def main(names: Annotated[list[str] | None, typer.Argument(help="absent: all")] = None) -> None:
    """Make the clients."""
    for name, folder in generate(names or list(CLIENTS)).items():
        typer.echo(f"{name}: {folder}")


if __name__ == "__main__":
    typer.run(main)
