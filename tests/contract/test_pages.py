"""Pages whose commands need no worker are pasted into a shell against the API alone.

The others are pasted against a whole stack: tests/e2e/test_documents.py. No page has commands or
Python that no test executes, but for those that are listed here.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from app.environments.spec import EnvironmentSpec
from app.runs.schemas import RunCreate
from tests.conftest import REPOSITORY
from tests.databases import own_database
from tests.pages import OF_THE_API, WALKED, Block, blocks_of, examples_of, pages
from tests.served import served_api

pytestmark = pytest.mark.anyio

VARIABLES = """set -euo pipefail
WS="$TRAINWRIGHT/v1/workspaces/demo"
AUTH="Authorization: Bearer $TOKEN"
JSON="Content-Type: application/json"
pick() { "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
curl -sS -X PUT "$WS" -H "$AUTH"
"""

EXECUTED = {*WALKED, *OF_THE_API, "docs/backup.md"}
"""Pages whose bash blocks a test pastes as they are; docs/backup.md: tests/backups."""

HOST = 'curl -sS -X PUT "$TRAINWRIGHT/v1/hosts/{}"'
ELSEWHERE = {
    # What a stranger types before the walk: the fixtures of the walk do it.
    ("README.md", ".venv/bin/python -m examples.digits"): "tests/e2e/conftest.py",
    ("docs/cli.md", "pip install ./client"): "tests/client/test_commands.py",
    ("docs/serving.md", "trainwright grpc --port"): "tests/e2e/test_documents.py",
    # Python that is a part of a run's script.
    ("docs/scripts.md", "from azureml.core import Run"): "tests/runner/test_standin.py",
    ("docs/mlflow.md", "import mlflow"): "tests/e2e/test_mlflow.py",
    # A server that runs until it is ended.
    ("docs/mlflow.md", "tensorboard --logdir"): "tests/e2e/test_tensorboard.py",
    # Short runs are not measured.
    ("docs/history.md", 'curl -sS "$WS/runs/$RUN/host.png"'): "tests/pictures/test_pictures.py",
    # It takes a provider of OpenID Connect.
    ("docs/identity.md", 'curl -sS "$TRAINWRIGHT/v1/auth/token"'): "tests/auth/test_sign_in.py",
    # They take several engines, or a trace that is downloaded.
    ("docs/scheduling.md", HOST.format("two")): "tests/hosts/test_draining.py",
    ("docs/scheduling.md", HOST.format("three")): "tests/hosts/test_draining.py",
    ("docs/scheduling.md", "trainwright simulate cluster"): "tests/simulation/test_command.py",
    # Commands of the operator, on an installation of their own.
    ("README.md", "compose/setup"): "tests/compose/test_compose.py",
    ("docs/compose.md", "compose/setup"): "tests/compose/test_compose.py",
    ("docs/compose.md", "docker compose exec -T api"): "tests/auth/test_signing_keys.py",
    ("docs/identity.md", "trainwright signing rotate-key"): "tests/auth/test_signing_keys.py",
    ("docs/secrets.md", "trainwright secrets rotate-key"): "tests/secrets/test_secrets.py",
    ("docs/backup.md", "trainwright backup /mnt/backups"): "tests/e2e/test_backup.py",
    ("docs/observability.md", "trainwright token create"): "tests/embedded/test_stack.py",
    ("docs/upgrade.md", "git pull && make up"): "tests/upgrade/test_previous_release.py",
}
"""How blocks begin that cannot be pasted as they are, and the test that does what they say."""

COMMAND = re.compile(
    r"(?:^|[\s(|;&])(?:curl|trainwright|mlflow|tensorboard|(?:\S*/)?python3?|pip)\s", re.MULTILINE
)


def has_commands(block: Block) -> bool:
    """Whether the block is Python, or calls something of ours, curl or Python in a shell."""
    is_shell = block.language in {"", "bash", "sh", "shell", "console"}
    return block.language == "python" or (is_shell and COMMAND.search(block.text) is not None)


def test_every_command_of_a_page_is_executed_by_a_test() -> None:
    found = [block for page in pages() for block in blocks_of(page) if has_commands(block)]
    pasted = [block for block in found if block.language == "bash" and block.page in EXECUTED]
    others = [block for block in found if block not in pasted]
    listed = {
        (page, begin): [b for b in others if b.page == page and b.text.lstrip().startswith(begin)]
        for page, begin in ELSEWHERE
    }
    known = [block for blocks in listed.values() for block in blocks]
    assert [block for block in others if block not in known] == []
    assert {begin for begin, blocks in listed.items() if len(blocks) != 1} == set()
    assert {test for test in ELSEWHERE.values() if not (REPOSITORY / test).is_file()} == set()
    assert len(pasted) > 70


def test_bodies_are_taken_as_pages_write_them() -> None:
    (environment,) = examples_of("docs/images.md", "json")
    assert EnvironmentSpec.model_validate_json(environment).apt_packages
    (gang,) = examples_of("docs/runs.md", "json")
    rest = {"experiment_name": "e", "snapshot_id": "s", "cluster_name": "c", "entry_script": "a.py"}
    assert RunCreate.model_validate({**rest, **json.loads(gang)}).node_count == 2


@pytest.mark.parametrize(
    ("page", "setting", "value"),
    [
        ("docs/limits.md", "rate_limits", {"submit": "60/minute", "score": ""}),
        ("docs/storage.md", "object_store_url", "s3://models/trainwright"),
    ],
)
def test_settings_are_taken_as_the_page_writes_them(
    page: str, setting: str, value: object, tmp_path: Path
) -> None:
    (block,) = examples_of(page, "sh")
    asked = f"from app.kernel.config import Settings; print(repr(Settings().{setting}))"
    shell = subprocess.run(
        ["bash", "-euc", f'set -a\n{block}\nexec "$PYTHON" -c "$ASKED"'],
        cwd=REPOSITORY,
        env={
            **os.environ,
            "PYTHON": sys.executable,
            "ASKED": asked,
            "TRAINWRIGHT_DATA_DIR": str(tmp_path),
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=60,
    )
    assert shell.stdout == f"{value!r}\n"


async def test_the_commands_work_as_written(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    for program in ("bash", "curl"):
        assert shutil.which(program), f"this test needs {program}, which is not installed"
    (tmp_path / ".curlrc").write_text("fail-with-body\nmax-time = 60\n")
    blocks = [block for page in OF_THE_API for block in examples_of(page)]
    async with own_database(postgres_url) as url:
        with served_api(tmp_path / "data", url, broker_url) as served:
            shell = await anyio.run_process(
                ["bash", "-xc", VARIABLES + "".join(blocks) + "echo all done"],
                check=False,
                cwd=tmp_path,
                env={
                    **os.environ,
                    "CURL_HOME": str(tmp_path),
                    "TRAINWRIGHT": served.address,
                    "TOKEN": served.token,
                    "PYTHON": sys.executable,
                },
                stderr=subprocess.STDOUT,
            )
    said = shell.stdout.decode()
    assert shell.returncode == 0, said[-4000:]
    assert said.endswith("all done\n")
