"""What the documents tell a stranger to paste is pasted here, in order, into one shell."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from examples.walk.stack import Stack

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

REPOSITORY = Path(__file__).parents[2]
DOCUMENTS = (
    "README.md",
    "docs/guide.md",
    "docs/models.md",
    "docs/history.md",
    "docs/storage.md",
    "docs/cli.md",
    "docs/migration.md",
    "docs/scheduling.md",
    "docs/budgets.md",
    "docs/sweeps.md",
)
BLOCK = re.compile(r"^```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
# curl's own settings file makes every refused request an error of the shell.
CURL_SETTINGS = "fail-with-body\nmax-time = 900\n"


def script_of(documents: tuple[str, ...]) -> str:
    """Return all blocks as one script that says where it is and stops at the first error."""
    lines = ["set -euo pipefail"]
    for document in documents:
        blocks = BLOCK.findall((REPOSITORY / document).read_text())
        assert blocks, f"{document} has no bash blocks"
        for number, block in enumerate(blocks, start=1):
            lines += [f"echo; echo '#### {document}, block {number}'", block]
    return "\n".join([*lines, "echo; echo '#### all done'"])


@pytest.mark.timeout(1500)
def test_the_commands_of_the_readme_and_the_guide_work_as_written(
    live_stack: Stack, digits: Path, digits_address: str, tmp_path: Path
) -> None:
    for program in ("bash", "curl"):
        assert shutil.which(program), f"this test needs {program}, which is not installed"
    (tmp_path / ".curlrc").write_text(CURL_SETTINGS)
    (tmp_path / "examples").symlink_to(REPOSITORY / "examples")
    (tmp_path / ".venv").symlink_to(sys.prefix)
    environment = {
        **os.environ,
        "CURL_HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TRAINWRIGHT": live_stack.address,
        "TOKEN": live_stack.token,
        "DIGITS_URL": digits_address,
        "DIGITS_FOLDER": str(digits),
    }

    shell = subprocess.run(
        ["bash", "-c", script_of(DOCUMENTS)],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1400,
    )

    assert shell.returncode == 0, shell.stdout[-6000:]
    assert "#### all done" in shell.stdout
    assert "hello from run_" in shell.stdout
    assert "Canceled" in shell.stdout
