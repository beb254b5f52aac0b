"""From ``POST /runs`` to the first line of a script when nodes are containers.

The floor is a bare ``docker run`` of the same image with the same script, measured in between.
The base image is the tests' own, which is made without a registry, with one file more, so that no
step of an earlier build can be taken from the engine's cache.
"""

import json
import os
import secrets
import statistics
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

from app.environments.docker_builder import REPOSITORY, DockerImageBuilder
from app.environments.image_engine import ImageEngine
from benchmarks.figure import Figure, over_floor
from benchmarks.trivial_run import SCRIPT, interpreter_in, once, own_stack, prepare
from tests import docker_engine

_REPETITIONS = 9
_PYTHON = "3.11"  # Debian bookworm's


def measure() -> list[Figure]:
    """Start a stack of its own and measure on it.

    Returns:
        ``docker_cold_start``: seconds from the request to the line at a following client when the
        image has to be built; ``docker_start`` the same when it is there; and
        ``docker_start_added``: how many of them a bare ``docker run`` does not need.

    Raises:
        StepError: a request was refused, or a run failed.
    """
    with _new_base_image() as base, own_stack(**_settings(base)) as talk:
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


def _settings(base: str) -> dict[str, str]:
    settings = {
        "TRAINWRIGHT_PROVIDER": "docker",
        "TRAINWRIGHT_DOCKER_URL": docker_engine.DOCKER_URL,
        "TRAINWRIGHT_BASE_IMAGES": json.dumps({_PYTHON: base}),
    }
    if "SSL_CERT_FILE" in os.environ:
        settings["TRAINWRIGHT_BUILD_CA_FILE"] = os.environ["SSL_CERT_FILE"]
    return settings


@contextmanager
def _new_base_image() -> Iterator[str]:
    tag = f"trainwright-bench/python:{secrets.token_hex(4)}"
    dockerfile = f"FROM {docker_engine.base_image()}\nRUN echo {tag} > /etc/trainwright-bench\n"
    command = ["docker", "--host", docker_engine.DOCKER_URL]
    subprocess.run(
        [*command, "build", "--quiet", "--tag", tag, "-"],
        input=dockerfile.encode(),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    try:
        yield tag
    finally:
        subprocess.run([*command, "rmi", tag], stdout=subprocess.DEVNULL, check=True)


def _bare(image: str, interpreter: str) -> float:
    """Seconds from ``docker run`` to the script's first line."""
    command = ["docker", "--host", docker_engine.DOCKER_URL, "run", "--rm", image]
    began = time.perf_counter()
    with subprocess.Popen([*command, interpreter, "-c", SCRIPT], stdout=subprocess.PIPE) as child:
        line = child.stdout.readline() if child.stdout else b""
        seconds = time.perf_counter() - began
    interpreter_in(line.decode())
    return seconds
