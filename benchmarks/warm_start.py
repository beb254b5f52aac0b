"""From ``POST /runs`` to the first line of a script, in an environment that is there already.

The floor is a bare start of the same interpreter with the same script, measured in between.
"""

import io
import shutil
import statistics
import subprocess
import tarfile
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, over_floor
from examples.walk.follow import TERMINAL, log_lines, poll
from examples.walk.stack import Stack
from examples.walk.talk import StepError, Talk, require

_REPETITIONS = 9
_RUN_SECONDS = 120.0
_WORKSPACE = "/v1/workspaces/bench"
_MARK = "first line of"
_SCRIPT = f"import sys\nprint('{_MARK}', sys.executable, flush=True)\n"
_PACKAGES = ["idna==3.10"]


def measure() -> list[Figure]:
    """Start a stack of its own and measure on it.

    Returns:
        ``warm_start``: seconds from the request to the line at a following client; and
        ``warm_start_added``: how many of them a bare start does not need.

    Raises:
        StepError: a request was refused, or a run failed.
    """
    with _stack() as talk:
        job = _prepare(talk)
        interpreter = _interpreter(_once(talk, job)[1])
        samples = []
        floors = []
        for _ in range(_REPETITIONS):
            samples.append(_once(talk, job)[0])
            floors.append(_bare(interpreter))
    value, floor = statistics.median(samples), statistics.median(floors)
    return [
        over_floor("warm_start", value=value, unit="s", floor=floor),
        over_floor("warm_start_added", value=value - floor, unit="s", floor=floor),
    ]


@contextmanager
def _stack() -> Iterator[Talk]:
    folder = Path(tempfile.mkdtemp(prefix="trainwright-bench-"))
    stack = Stack(folder / "data")
    try:
        stack.start()
        talk = Talk(stack.address, stack.token, is_silent=True)
        yield talk
        talk.close()
    finally:
        stack.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _prepare(talk: Talk) -> dict[str, Any]:
    """The body of the run that is submitted again and again."""
    talk.ask("PUT", _WORKSPACE, body={}, expect=(200, 201))
    talk.ask("PUT", f"{_WORKSPACE}/experiments/bench", body={}, expect=(200, 201))
    cluster = {"vm_size": "STANDARD_D2_V2", "min_nodes": 0, "max_nodes": 1}
    talk.ask("PUT", f"{_WORKSPACE}/clusters/bench", body=cluster, expect=(200, 201))
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "source.tar"
        archive.write_bytes(_packed("script.py", _SCRIPT.encode()))
        snapshot = talk.upload(f"{_WORKSPACE}/snapshots", file=archive, shown_as="source.tar")
    return {
        "experiment_name": "bench",
        "snapshot_id": snapshot["id"],
        "cluster_name": "bench",
        "entry_script": "script.py",
        "environment": {"pip_packages": _PACKAGES},
    }


def _once(talk: Talk, job: dict[str, Any]) -> tuple[float, str]:
    """Seconds to the script's first line, and that line; waits for the run's end."""
    began = time.perf_counter()
    run = talk.ask("POST", f"{_WORKSPACE}/runs", body=job, expect=(201,)).json()
    address = f"{_WORKSPACE}/runs/{run['id']}"
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
    return seconds, line


def _interpreter(line: str) -> str:
    return line.split(_MARK, 1)[1].strip()


def _bare(interpreter: str) -> float:
    """Seconds from starting the interpreter with the script to its first line."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(_SCRIPT)
        began = time.perf_counter()
        with subprocess.Popen([interpreter, str(script)], stdout=subprocess.PIPE) as child:
            line = child.stdout.readline() if child.stdout else b""
            seconds = time.perf_counter() - began
    require(_MARK.encode() in line, f"the bare script said {line!r}")
    return seconds


def _packed(name: str, content: bytes) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return packed.getvalue()
