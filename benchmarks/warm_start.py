"""From ``POST /runs`` to the first line of a script, in an environment that is there already.

The floor is a bare start of the same interpreter with the same script, measured in between.
"""

import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.figure import Figure, over_floor
from benchmarks.trivial_run import SCRIPT, interpreter_in, once, own_stack, prepare

_REPETITIONS = 9


def measure() -> list[Figure]:
    """Start a stack of its own and measure on it.

    Returns:
        ``warm_start``: seconds from the request to the line at a following client; and
        ``warm_start_added``: how many of them a bare start does not need.

    Raises:
        StepError: a request was refused, or a run failed.
    """
    with own_stack() as talk:
        job = prepare(talk)
        _, _, interpreter = once(talk, job)
        samples = []
        floors = []
        for _ in range(_REPETITIONS):
            samples.append(once(talk, job)[0])
            floors.append(_bare(interpreter))
    value, floor = statistics.median(samples), statistics.median(floors)
    return [
        over_floor("warm_start", value=value, unit="s", floor=floor),
        over_floor("warm_start_added", value=value - floor, unit="s", floor=floor),
    ]


def _bare(interpreter: str) -> float:
    """Seconds from starting the interpreter with the script to its first line."""
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "script.py"
        script.write_text(SCRIPT)
        began = time.perf_counter()
        with subprocess.Popen([interpreter, str(script)], stdout=subprocess.PIPE) as child:
            line = child.stdout.readline() if child.stdout else b""
            seconds = time.perf_counter() - began
    interpreter_in(line.decode())
    return seconds
