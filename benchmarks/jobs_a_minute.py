"""How many trivial runs end in a minute when eight are always under way.

The floor is how often the same interpreter can be started with the same script, eight at a time.
"""

import statistics
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from benchmarks.figure import Figure, over_floor
from benchmarks.trivial_run import SCRIPT, WORKSPACE, once, own_stack, prepare
from examples.walk.follow import TERMINAL
from examples.walk.talk import StepError, Talk

_AT_ONCE = 8
_SECONDS = 60.0
_FLOOR_SECONDS = 5.0
_LOOK_SECONDS = 0.05


def measure() -> list[Figure]:
    """Start a stack of its own and measure on it.

    Returns:
        ``jobs_a_minute``: runs that completed in a minute on a cluster of eight nodes; and
        ``job_seconds``: the median from a run's submission to its end meanwhile, over what a bare
        start takes among seven others.

    Raises:
        StepError: a request was refused, or a run did not complete.
    """
    with own_stack() as talk:
        job = prepare(talk, cluster_name="eight")
        cluster = {"vm_size": "STANDARD_D1_V2", "min_nodes": 0, "max_nodes": _AT_ONCE}
        talk.ask("PUT", f"{WORKSPACE}/clusters/eight", body=cluster, expect=(201,))
        _, _, interpreter = once(talk, job)
        took = _ended_in(_SECONDS, talk, job)
        bare = _bare_starts(interpreter)
    return [
        over_floor("jobs_a_minute", value=len(took) * 60 / _SECONDS, unit="1/min", floor=bare * 60),
        over_floor("job_seconds", value=statistics.median(took), unit="s", floor=_AT_ONCE / bare),
    ]


def _ended_in(seconds: float, talk: Talk, job: dict[str, Any]) -> list[float]:
    """How long each run took that ended within these seconds."""
    under_way: dict[str, float] = {}
    took: list[float] = []
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        while len(under_way) < _AT_ONCE:
            began = time.perf_counter()
            run = talk.ask("POST", f"{WORKSPACE}/runs", body=job, expect=(201,)).json()
            under_way[run["id"]] = began
        newest = talk.ask("GET", f"{WORKSPACE}/runs?page_size={_AT_ONCE * 4}").json()["items"]
        for run in newest:
            if run["id"] in under_way and run["status"] in TERMINAL:
                if run["status"] != "Completed":
                    raise StepError(f"the run did not complete: {run}")
                took.append(time.perf_counter() - under_way.pop(run["id"]))
        time.sleep(_LOOK_SECONDS)
    return took


def _bare_starts(interpreter: str) -> float:
    """Starts of the interpreter with the script, to its end, a second."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(SCRIPT)
        until = time.perf_counter() + _FLOOR_SECONDS

        def start_again(_: int) -> int:
            count = 0
            while time.perf_counter() < until:
                subprocess.run([interpreter, str(script)], stdout=subprocess.DEVNULL, check=True)
                count += 1
            return count

        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return sum(threads.map(start_again, range(_AT_ONCE))) / _FLOOR_SECONDS
