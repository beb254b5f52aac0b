"""What the documents tell a stranger to paste is pasted here, in order, into one shell."""

import os
import re
import shutil
import socket
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from examples.walk.stack import Stack
from tests.conftest import REPOSITORY
from tests.pages import WALKED, examples_of
from tests.storage.buckets import BUCKET, BucketServer, bucket_server

pytestmark = [pytest.mark.e2e, pytest.mark.slow]

# curl's own settings file makes every refused request an error of the shell.
CURL_SETTINGS = "fail-with-body\nmax-time = 900\n"


def script_of(documents: tuple[str, ...]) -> str:
    """Return all blocks as one script that says where it is and stops at the first error.

    Its workspaces are new ones: what they count from 1 is to be so when it is tried again.
    """
    lines = ["set -euo pipefail"]
    for document in documents:
        for number, block in enumerate(examples_of(document), start=1):
            lines += [f"echo; echo '#### {document}, block {number}'", block]
    script = "\n".join([*lines, "echo; echo '#### all done'"])
    suffix = uuid.uuid4().hex[:8]
    script = script.replace("workspace create cli", f"workspace create cli-{suffix}")
    return re.sub(r"\bdemo\b", f"demo-{suffix}", script)


@contextmanager
def grpc_door(stack: Stack) -> Iterator[str]:
    """``trainwright grpc`` beside the stack's API; its address."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "app.cli", "grpc", "--port", str(port), "--api", stack.address]
    door = subprocess.Popen(command, cwd=REPOSITORY, stdin=subprocess.DEVNULL)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        door.terminate()
        try:
            door.wait(timeout=30)
        except subprocess.TimeoutExpired:
            door.kill()
            raise


@pytest.fixture
def grpc_address(live_stack: Stack) -> Iterator[str]:
    with grpc_door(live_stack) as address:
        yield address


@pytest.fixture
def bucket(tmp_path: Path) -> Iterator[BucketServer]:
    with bucket_server("s3", tmp_path / "bucket") as server:
        yield server


@pytest.mark.timeout(1800)
def test_the_commands_of_the_documents_work_as_written(
    live_stack: Stack,
    digits: Path,
    digits_address: str,
    grpc_address: str,
    bucket: BucketServer,
    tmp_path: Path,
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
        "GRPC": grpc_address,
        "BUCKET": BUCKET,
        "ENDPOINT": bucket.options["endpoint"],
        "ACCESS_KEY_ID": bucket.options["access_key_id"],
        "SECRET_ACCESS_KEY": bucket.options["secret_access_key"],
    }

    with (tmp_path / "said").open("w") as said_here:
        shell = subprocess.run(
            ["timeout", "1700", "bash", "-c", script_of(WALKED)],
            cwd=tmp_path,
            env=environment,
            stdout=said_here,
            stderr=subprocess.STDOUT,
            timeout=1750,
        )

    said = (tmp_path / "said").read_text()
    assert shell.returncode == 0, said[-6000:]
    assert "#### all done" in said
    assert "hello from run_" in said
    assert "Canceled" in said
    by_http, by_grpc = re.findall(r"^\[\d \d \d\]$", said, re.MULTILINE)
    assert by_http == by_grpc
    assert "28 characters: [secret WAREHOUSE]" in said
    assert "correct horse battery staple" not in said
    assert "('elsewhere', 0.97)" in said
