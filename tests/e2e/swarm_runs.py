"""Runs on two engines through a whole stack: the stack, and what its tests look at."""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from app.providers.docker.container import NODE_LABEL, OWNER_LABEL
from examples.walk.stack import Stack
from examples.walk.talk import Talk
from tests import docker_engine
from tests.e2e.horovod_runs import WHEELS
from tests.e2e.test_gangs import WORKSPACE, await_that, cancel_all
from tests.engines import Engine
from tests.environments.registry import private_registry
from tests.swarm import Swarm

BASE = "trainwright-test/python:for-nodes"


@contextmanager
def swarm_stack(swarm: Swarm, folder: Path) -> Iterator[Stack]:
    """A stack whose nodes live on both engines, with a registry that both reach."""
    with socket.create_server((swarm.gateway, 0)) as probe:
        port = probe.getsockname()[1]
    with closing(swarm.alpha.client()) as engine:
        engine.tag(docker_engine.BASE_IMAGE, *BASE.split(":"))
    with private_registry(folder, host=swarm.gateway) as registry:
        settings = {
            "TRAINWRIGHT_PROVIDER": "docker",
            "TRAINWRIGHT_DOCKER_URL": swarm.alpha.url,
            "TRAINWRIGHT_DOCKER_ENGINES": json.dumps(swarm.engines),
            "TRAINWRIGHT_NODE_URL": f"http://{swarm.gateway}:{port}",
            "TRAINWRIGHT_IMAGE_REGISTRY": f"{registry.address}/runs",
            "TRAINWRIGHT_REGISTRY_CREDENTIALS_FILE": str(registry.credentials_file),
            "TRAINWRIGHT_BASE_IMAGES": f'{{"3.11": "{BASE}"}}',
            "TRAINWRIGHT_BUILD_CA_FILE": os.environ.get("SSL_CERT_FILE", ""),
            "TRAINWRIGHT_WHEELS_DIR": str(WHEELS),
            "TRAINWRIGHT_FETCH_ALLOW": '["127.0.0.1"]',
            "TRAINWRIGHT_HEARTBEAT_SECONDS": "0.5",
            "TRAINWRIGHT_HEARTBEAT_TIMEOUT_SECONDS": "15",
            "TRAINWRIGHT_HOST_CHECK_SECONDS": "1",
            "TRAINWRIGHT_LEAK_CHECK_SECONDS": "1",
            "TRAINWRIGHT_LEAK_GRACE_SECONDS": "2",
        }
        given = {key: value for key, value in settings.items() if value}
        stack = Stack(folder / "data", port=port, settings=given)
        stack.start()
        yield stack
        assert stack.stop() == [], "the stack left processes behind"


@contextmanager
def talking(stack: Stack, swarm: Swarm) -> Iterator[Talk]:
    """A conversation about a cluster of two nodes; afterwards neither engine holds any of it."""
    talk = Talk(stack.address, stack.token, is_silent=True)
    talk.ask("PUT", WORKSPACE, expect=(200, 201))
    body = {"vm_size": "SMALL", "max_nodes": 2, "idle_seconds_before_scaledown": 0}
    talk.ask("PUT", f"{WORKSPACE}/clusters/cpu", body=body, expect=(200, 201))
    await_that(lambda: states(talk) == {"alpha": "ready", "beta": "ready"})
    yield talk
    cancel_all(talk)
    talk.close()
    await_that(lambda: not held(swarm.alpha) and not held(swarm.beta))


def held(engine: Engine) -> list[str]:
    """Whatever of nodes an engine holds; inputs are kept for the next run."""
    ours = {"label": OWNER_LABEL}
    of_nodes = {"label": [OWNER_LABEL, NODE_LABEL]}
    with closing(engine.client()) as client:
        containers = [each["Id"] for each in client.containers(all=True, filters=ours)]
        volumes = [each["Name"] for each in client.volumes(filters=of_nodes)["Volumes"] or []]
        networks = [each["Name"] for each in client.networks(filters=ours)]
    return containers + volumes + networks


def attempts_of(talk: Talk, run_id: str) -> list[dict[str, Any]]:
    """The attempts of a run."""
    items: list[dict[str, Any]] = talk.get(f"{WORKSPACE}/runs/{run_id}/attempts")["items"]
    return items


def hosts_of(attempt: dict[str, Any]) -> list[str]:
    """Where the nodes of an attempt were."""
    return sorted(node["host"] for node in attempt["nodes"])


def states(talk: Talk) -> dict[str, str]:
    """The state of each host."""
    return {host["name"]: host["state"] for host in talk.get("/v1/hosts")["items"]}
