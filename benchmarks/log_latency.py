"""What a script prints, until a following client has it: one line at a time, and in a flood.

The floors are the same script behind a bare pipe, read in between.
"""

import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, over_floor
from benchmarks.made import packed
from benchmarks.trivial_run import once, own_stack, prepare
from examples.walk.follow import TERMINAL, log_chunks, poll
from examples.walk.talk import Talk, require

_WORKSPACE = "/v1/workspaces/bench"
_RUN_SECONDS = 300.0
_LINES = 300
_FLOOD_LINES = 1_000_000
_END = b"end of the flood"
_SCRIPT = f"""
import sys, time
for _ in range({_LINES}):
    print("at", repr(time.time()), flush=True)
    time.sleep(0.03)
began = time.time()
for number in range({_FLOOD_LINES}):
    sys.stdout.write("line %d of very many of them, as long as lines often are\\n" % number)
sys.stdout.flush()
print("{_END.decode()} after", time.time() - began, flush=True)
"""


def measure() -> list[Figure]:
    """Start a stack of its own and measure on it.

    Returns:
        ``log_latency_median`` and ``log_latency_p99``: seconds from printing a line to a following
        client; ``log_flood``: lines a second that reach it, of a script that prints as fast as it
        can; ``log_flood_script``: the same as the script itself sees it, which nothing may hold up.

    Raises:
        StepError: a request was refused, or the run failed.
    """
    with own_stack() as talk:
        job = prepare(talk)
        interpreter = once(talk, job)[2]
        bare = _Watch()
        bare.read(_bare(interpreter))
        seen = _Watch()
        seen.read(_followed(talk, job))
    return [
        over_floor(
            "log_latency_median",
            value=statistics.median(seen.delays),
            unit="s",
            floor=statistics.median(bare.delays),
        ),
        over_floor("log_latency_p99", value=_p99(seen.delays), unit="s", floor=_p99(bare.delays)),
        over_floor(
            "log_flood",
            value=_FLOOD_LINES / seen.flood_seconds,
            unit="lines/s",
            floor=_FLOOD_LINES / bare.flood_seconds,
        ),
        over_floor(
            "log_flood_script",
            value=_FLOOD_LINES / seen.script_seconds,
            unit="lines/s",
            floor=_FLOOD_LINES / bare.script_seconds,
        ),
    ]


class _Watch:
    """What a reader of the script's output sees, and when."""

    def __init__(self) -> None:
        self.delays: list[float] = []
        self.flood_seconds = 0.0
        self.script_seconds = 0.0

    def read(self, chunks: Iterable[bytes]) -> None:
        began = 0.0
        lines = 0
        rest = b""
        for chunk in chunks:
            now = time.time()
            if not began:
                *whole, rest = (rest + chunk).split(b"\n")
                for line in whole:
                    if line.startswith(b"at "):
                        self.delays.append(now - float(line[3:]))
                    elif line.startswith(b"line 0 "):
                        began = now
                lines += sum(line.startswith(b"line ") for line in whole) if began else 0
                continue
            lines += chunk.count(b"\n")
            rest = (rest + chunk)[-200:]
            if _END in rest and rest.endswith(b"\n"):
                self.flood_seconds = now - began
                self.script_seconds = float(rest.split(b"after ")[1].split()[0])
        require(len(self.delays) == _LINES, f"{len(self.delays)} lines came, not {_LINES}")
        require(lines >= _FLOOD_LINES, f"only {lines} lines of the flood came")


def _followed(talk: Talk, job: dict[str, Any]) -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as folder:
        archive = Path(folder) / "source.tar"
        archive.write_bytes(packed("script.py", _SCRIPT.encode()))
        snapshot = talk.upload(f"{_WORKSPACE}/snapshots", file=archive, shown_as="source.tar")
    body = {**job, "snapshot_id": snapshot["id"]}
    run = talk.ask("POST", f"{_WORKSPACE}/runs", body=body, expect=(201,)).json()
    address = f"{_WORKSPACE}/runs/{run['id']}"
    yield from log_chunks(talk, f"{address}/logs", deadline_seconds=_RUN_SECONDS)
    ended = poll(
        talk,
        address,
        until=lambda seen: seen["status"] in TERMINAL,
        deadline_seconds=_RUN_SECONDS,
        words="the run ended",
    )
    require(ended["status"] == "Completed", f"the run did not complete: {ended}")


def _bare(interpreter: str) -> Iterator[bytes]:
    with subprocess.Popen([interpreter, "-c", _SCRIPT], stdout=subprocess.PIPE, bufsize=0) as child:
        assert child.stdout is not None
        while chunk := child.stdout.read(1 << 20):
            yield chunk


def _p99(values: list[float]) -> float:
    return statistics.quantiles(values, n=100)[98]
