"""The runner and the stand-in under the Python versions they promise to work with."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner.conftest import RUNNER, Bench
from tests.runner.interpreters import INTERPRETERS
from tests.runner.test_standin_offline import STANDIN, play_offline

RUNNER_SINCE = 8
FOUND = "-".join(INTERPRETERS) or "none"
STANDIN_VERSIONS = sorted(INTERPRETERS)
RUNNER_VERSIONS = [v for v in STANDIN_VERSIONS if int(v.split(".")[1]) >= RUNNER_SINCE]


@pytest.mark.parametrize("found", [FOUND], ids=[f"found-{FOUND}"])
def test_interpreters_on_this_machine(found: str) -> None:
    """The name of this test says which versions the tests below could use."""
    assert found


@pytest.mark.parametrize("version", STANDIN_VERSIONS)
def test_the_standin_works_offline(version: str, tmp_path: Path) -> None:
    assert play_offline(INTERPRETERS[version], tmp_path).endswith("refused\n")


@pytest.mark.parametrize("version", STANDIN_VERSIONS)
def test_the_standin_works_inside_a_run(version: str, bench: Bench) -> None:
    bench.api.order["standin"] = True
    bench.api.order["environment"] = {
        "AZUREML_RUN_ID": "run_1",
        "AZUREML_RUN_TOKEN": "run-token",
        "AZUREML_ARM_WORKSPACE_NAME": "lab",
        "TRAINWRIGHT_API": bench.api.url + "/v1/workspaces/lab",
    }
    bench.source(
        "train.py",
        "from azureml.core import Run\n"
        "run = Run.get_context()\n"
        "run.log('a', 1)\nrun.log_row('r', x=2)\nrun.tag('t', 'v')\nrun.set_tags({'u': 'w'})\n"
        "run.add_properties({'p': 1})\n"
        "open('file', 'w').write('content')\n"
        "run.upload_file('name', 'file')\nrun.upload_folder('folder', 'logs')\n"
        "run.download_file('name', 'back')\n"
        "model = run.register_model('m', 'file')\n"
        "try: run.register_model('a/b', 'file')\n"
        "except Exception as error: print(error.status_code)\n"
        "print(run.get_metrics(), model.version, sorted(run.get_tags()), open('back').read())\n",
    )
    bench.process(INTERPRETERS[version], "train.py")

    assert bench.run() == 0

    assert bench.api.text() == "422\n{'a': 1, 'r': {'x': 2}} 1 ['t', 'u'] content\n"


@pytest.mark.parametrize("version", RUNNER_VERSIONS)
def test_the_runner_does_a_whole_run(version: str, bench: Bench) -> None:
    bench.script("print('hello'); open('outputs/a', 'w').write('a')")
    done = subprocess.run(
        [INTERPRETERS[version], "-I", "-B", "-W", "error", str(RUNNER)],
        cwd=bench.node_dir,
        env={
            "PATH": os.environ["PATH"],
            "TRAINWRIGHT_NODE": bench.name,
            "TRAINWRIGHT_ENDPOINT": bench.api.url,
        },
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert bench.api.text() == "hello\n"
    assert bench.api.output("outputs/a") == b"a"


@pytest.mark.parametrize("folder", [RUNNER.parent], ids=["runner-and-standin"])
def test_only_the_standard_library_is_imported(folder: Path) -> None:
    own = {"workers", "azureml"}
    foreign = {
        (path.name, module)
        for path in folder.rglob("*.py")
        for module in _imported(path)
        if module not in own and module not in sys.stdlib_module_names
    }
    assert foreign == set()
    assert STANDIN.is_dir()


def _imported(path: Path) -> Iterator[str]:
    for line in path.read_text().splitlines():
        words = line.split()
        if words[:1] in (["import"], ["from"]) and not line.startswith((" ", "from __future__")):
            yield words[1].split(".")[0]
