"""From ``POST /runs`` to the first line of a script when nodes are containers.

The floor is a bare ``docker run`` of the same image with the same script, measured in between.
The base image is the tests' own, which is made without a registry, unless
``TRAINWRIGHT_BASE_IMAGES`` names another.
"""

import json
import os
import statistics
import subprocess
import time

from app.environments.docker_builder import REPOSITORY, DockerImageBuilder
from app.environments.image_engine import ImageEngine
from benchmarks.figure import Figure, over_floor
from benchmarks.trivial_run import SCRIPT, interpreter_in, once, own_stack, prepare
from tests import docker_engine

_REPETITIONS = 9
_PYTHON = "3.11"  # Debian bookworm's
_BASE_IMAGES = "TRAINWRIGHT_BASE_IMAGES"


def measure() -> list[Figure]:
    """Start a stack of its own and measure on it.

    Returns:
        ``docker_cold_start``: seconds from the request to the line at a following client when the
        image has to be built; ``docker_start`` the same when it is there; and
        ``docker_start_added``: how many of them a bare ``docker run`` does not need.

    Raises:
        StepError: a request was refused, or a run failed.
    """
    settings = {
        "TRAINWRIGHT_PROVIDER": "docker",
        "TRAINWRIGHT_DOCKER_URL": docker_engine.DOCKER_URL,
    }
    if _BASE_IMAGES not in os.environ:
        docker_engine.base_image()
        settings[_BASE_IMAGES] = json.dumps({_PYTHON: docker_engine.BASE_IMAGE})
    if "SSL_CERT_FILE" in os.environ:
        settings["TRAINWRIGHT_BUILD_CA_FILE"] = os.environ["SSL_CERT_FILE"]
    with own_stack(**settings) as talk:
        job = prepare(talk)
        cold, run, interpreter = once(talk, job)
        samples = []
        floors = []
        try:
            for _ in range(_REPETITIONS):
                samples.append(once(talk, job)[0])
                floors.append(_bare(f"{REPOSITORY}:{run['image_hash']}", interpreter))
        finally:
            DockerImageBuilder(ImageEngine(docker_engine.DOCKER_URL)).remove(run["image_hash"])
    value, floor = statistics.median(samples), statistics.median(floors)
    return [
        over_floor("docker_cold_start", value=cold, unit="s", floor=floor),
        over_floor("docker_start", value=value, unit="s", floor=floor),
        over_floor("docker_start_added", value=value - floor, unit="s", floor=floor),
    ]


def _bare(image: str, interpreter: str) -> float:
    """Seconds from ``docker run`` to the script's first line."""
    command = ["docker", "--host", docker_engine.DOCKER_URL, "run", "--rm", image]
    began = time.perf_counter()
    with subprocess.Popen([*command, interpreter, "-c", SCRIPT], stdout=subprocess.PIPE) as child:
        line = child.stdout.readline() if child.stdout else b""
        seconds = time.perf_counter() - began
    interpreter_in(line.decode())
    return seconds
