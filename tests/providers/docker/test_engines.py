"""The engines that tests have of their own: apart from each other, and gone without a trace."""

import os
import subprocess
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests import docker_engine
from tests.engines import segment

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker_image")]


def test_a_killed_engine_finds_its_container_again_and_leaves_nothing() -> None:
    with segment() as network, network.engine("lonely") as engine:
        marks = (engine.folder.name, engine.card, network.bridge)
        engine.load()
        with closing(engine.client()) as client:
            assert client.info()["Name"] == "lonely"
            made = client.create_container(
                docker_engine.BASE_IMAGE,
                ["sleep", "600"],
                host_config=client.create_host_config(init=True),
            )
            client.start(made)
            pid = client.inspect_container(made)["State"]["Pid"]

        engine.kill()
        assert engine.inside("kill", "-0", str(pid)) == "", "the container died with its engine"
        engine.start()

        with closing(engine.client()) as client:
            state = client.inspect_container(made)["State"]
            assert not state["Running"]
            assert state["ExitCode"] in (137, 143)
            client.start(made)
            assert client.inspect_container(made)["State"]["Running"]

    assert traces(*marks) == []


def test_engines_reach_each_other_until_one_is_cut_off() -> None:
    with segment() as network, network.engine("alpha") as alpha, network.engine("beta") as beta:
        with closing(alpha.client()) as client, closing(beta.client()) as other:
            assert client.info()["ID"] != other.info()["ID"]
        reach = ["bash", "-c", f"timeout 2 bash -c '</dev/tcp/{beta.address}/2375'; echo $?"]
        assert alpha.inside(*reach) == "0\n"

        beta.cut_off()
        assert alpha.inside(*reach) != "0\n"
        beta.plug_in()
        assert alpha.inside(*reach) == "0\n"


def traces(*marks: str) -> list[str]:
    """What is left on this machine that carries one of these in its name."""
    rules = subprocess.run(["iptables-save"], check=True, capture_output=True, text=True).stdout
    seen = [
        *os.listdir("/sys/class/net"),
        *Path("/proc/mounts").read_text().splitlines(),
        *(str(path) for path in Path("/tmp").iterdir()),
        *(str(path) for path in Path("/sys/fs/cgroup").glob("*/*")),
        *(" ".join(p.info["cmdline"] or []) for p in psutil.process_iter(["cmdline"])),
        *rules.splitlines(),
    ]
    return [line for line in seen if any(mark in line for mark in marks)]
