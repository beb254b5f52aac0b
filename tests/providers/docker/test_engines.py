"""The engines that tests have of their own: apart from each other, and gone without a trace."""

import os
import subprocess
from contextlib import closing
from pathlib import Path

import psutil
import pytest

from tests import docker_engine
from tests.engines import own_engine, segment

pytestmark = [pytest.mark.docker, pytest.mark.usefixtures("docker_image")]


def test_a_killed_engine_finds_its_container_again_and_leaves_nothing() -> None:
    before = traces()
    with own_engine() as engine:
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

    assert traces() == before


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


def traces() -> list[str]:
    """What an engine could leave on this machine."""
    rules = subprocess.run(["iptables-save"], check=True, capture_output=True, text=True).stdout
    links = [name for name in os.listdir("/sys/class/net") if name.startswith("tw")]
    mounts = [line for line in Path("/proc/mounts").read_text().splitlines() if "tw-eng" in line]
    folders = [str(path) for path in Path("/tmp").glob("tw-engine-*")]
    cgroups = [str(path) for path in Path("/sys/fs/cgroup").glob("*/tw-engine-*")]
    running = [
        process.info["name"]
        for process in psutil.process_iter(["name", "cmdline"])
        if "tw-engine-" in " ".join(process.info["cmdline"] or [])
    ]
    ours = [line for line in rules.splitlines() if "twbr" in line]
    return links + mounts + folders + cgroups + running + ours
