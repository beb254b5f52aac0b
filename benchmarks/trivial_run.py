"""A run whose script says one line: the stack it goes through, and how long it takes to be said."""

import io
import shutil
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from examples.walk.follow import TERMINAL, log_lines, poll
from examples.walk.stack import Stack
from examples.walk.talk import StepError, Talk, require

SCRIPT = "import sys\nprint('first line of', sys.executable, flush=True)\n"
_MARK = "first line of"
_RUN_SECONDS = 300.0
WORKSPACE = "/v1/workspaces/bench"
_PACKAGES = ["idna==3.10"]


@contextmanager
def own_stack(**settings: str) -> Iterator[Talk]:
    """A stack of the benchmark's own, and a conversation with it.

    Args:
        settings: the operator's, in addition to those of the environment.
    """
    folder = Path(tempfile.mkdtemp(prefix="trainwright-bench-"))
    stack = Stack(folder / "data", settings=settings)
    try:
        stack.start()
        talk = Talk(stack.address, stack.token, is_silent=True)
        yield talk
        talk.close()
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


def prepare(talk: Talk, *, script: str = SCRIPT, **more: Any) -> dict[str, Any]:
    """The body of the run that is submitted again and again.

    Args:
        talk: the server.
        script: what it runs; it says the same line as the trivial one.
        more: further fields, which win.
    """
    talk.ask("PUT", WORKSPACE, body={}, expect=(200, 201))
    talk.ask("PUT", f"{WORKSPACE}/experiments/bench", body={}, expect=(200, 201))
    cluster = {"vm_size": "STANDARD_D2_V2", "min_nodes": 0, "max_nodes": more.get("node_count", 1)}
    talk.ask("PUT", f"{WORKSPACE}/clusters/bench", body=cluster, expect=(200, 201))
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "source.tar"
        archive.write_bytes(_packed("script.py", script.encode()))
        snapshot = talk.upload(f"{WORKSPACE}/snapshots", file=archive, shown_as="source.tar")
    return {
        "experiment_name": "bench",
        "snapshot_id": snapshot["id"],
        "cluster_name": "bench",
        "entry_script": "script.py",
        "environment": {"pip_packages": _PACKAGES},
        **more,
    }


def once(talk: Talk, job: dict[str, Any]) -> tuple[float, dict[str, Any], str]:
    """Submit the run, follow its log, and wait for its end.

    Returns:
        Seconds from the request to the line at a following client; the run; the interpreter.

    Raises:
        StepError: a request was refused, or the run failed.
    """
    began = time.perf_counter()
    run = talk.ask("POST", f"{WORKSPACE}/runs", body=job, expect=(201,)).json()
    address = f"{WORKSPACE}/runs/{run['id']}"
    seconds, line = None, ""
    for line in log_lines(talk, f"{address}/logs", deadline_seconds=_RUN_SECONDS):
        if _MARK in line:
            seconds = time.perf_counter() - began
            break
    ended = poll(
        talk,
        address,
        until=lambda seen: seen["status"] in TERMINAL,
        deadline_seconds=_RUN_SECONDS,
        words="the run ended",
    )
    require(ended["status"] == "Completed", f"the run did not complete: {ended}")
    if seconds is None:
        raise StepError("the script's line never came")
    return seconds, ended, interpreter_in(line)


def interpreter_in(line: str) -> str:
    """The interpreter that the script's line names."""
    require(_MARK in line, f"the script said {line!r}")
    return line.split(_MARK, 1)[1].strip()


def _packed(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
