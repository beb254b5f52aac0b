"""Things that benchmarks measure on."""

import io
import tarfile
import tempfile
from pathlib import Path

from app.embedded.layout import Layout
from examples.walk.stack import Stack
from examples.walk.talk import Talk

WORKSPACE = "/v1/workspaces/bench"


def a_run(stack: Stack) -> str:
    """The path of a run that waits for ever, on a disabled cluster in a workspace of its own."""
    talk = Talk(stack.address, stack.token, is_silent=True)
    talk.ask("PUT", WORKSPACE, body={}, expect=(200, 201))
    cluster = {"vm_size": "STANDARD_D2_V2", "is_enabled": False}
    talk.ask("PUT", f"{WORKSPACE}/clusters/none", body=cluster, expect=(200, 201))
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "source.tar"
        archive.write_bytes(packed("script.py", b""))
        snapshot = talk.upload(f"{WORKSPACE}/snapshots", file=archive, shown_as="source.tar")
    body = {
        "experiment_name": "bench",
        "snapshot_id": snapshot["id"],
        "cluster_name": "none",
        "command": "true",
    }
    run = talk.ask("POST", f"{WORKSPACE}/runs", body=body, expect=(201,)).json()
    talk.close()
    return f"{WORKSPACE}/runs/{run['id']}"


def dsn_of(stack: Stack) -> str:
    """The address of the stack's database, as asyncpg takes it."""
    return Layout(stack.data_dir).postgres.url().replace("+psycopg", "")


def packed(name: str, content: bytes) -> bytes:
    """A tar archive with one file."""
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return target.getvalue()
