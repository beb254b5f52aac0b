"""Pages whose commands need no worker are pasted into a shell against the API alone.

The others are pasted against a whole stack: tests/e2e/test_documents.py.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

from tests.conftest import REPOSITORY
from tests.databases import own_database
from tests.served import served_api

pytestmark = pytest.mark.anyio

PAGES = ("docs/identity.md",)
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIABLES = """set -euo pipefail
WS="$TRAINWRIGHT/v1/workspaces/demo"
AUTH="Authorization: Bearer $TOKEN"
JSON="Content-Type: application/json"
pick() { "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' "$1"; }
curl -sS -X PUT "$WS" -H "$AUTH"
"""


async def test_the_commands_work_as_written(
    tmp_path: Path, postgres_url: str, broker_url: str
) -> None:
    for program in ("bash", "curl"):
        assert shutil.which(program), f"this test needs {program}, which is not installed"
    (tmp_path / ".curlrc").write_text("fail-with-body\nmax-time = 60\n")
    blocks = [block for page in PAGES for block in BLOCK.findall((REPOSITORY / page).read_text())]
    assert len(blocks) >= len(PAGES)
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
