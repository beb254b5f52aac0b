"""Open MPI's command lines and variables."""

import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.runner.errors import PrepareError
from workers.runner.mpi_line import (
    LaunchHost,
    check_programs,
    daemon_argv,
    host_file,
    launch_hosts,
    mpirun_argv,
    node_variables,
    rank_lines,
    rank_places,
    rank_variables,
)

ADDRESSES = st.ip_addresses(v=4).map(str)
HOSTS = st.lists(st.builds(LaunchHost, ADDRESSES, st.integers(1, 65535), st.integers(1, 8)),
                 min_size=1, max_size=6)  # fmt: skip


def test_the_line_for_two_nodes() -> None:
    hosts = launch_hosts(
        [
            {"address": "10.0.0.2", "port": 6205, "slots": 2},
            {"address": "10.0.0.3", "port": 6205, "slots": 2},
        ]
    )
    line = mpirun_argv(hosts, ["/a b/python", "rank"], rank_file="/f")
    assert line[0] == "mpirun"
    assert line[-2:] == ["/a b/python", "rank"]
    assert line[line.index("--host") + 1] == "10.0.0.2:2,10.0.0.3:2"
    assert line[line.index("-np") + 1] == "4"
    assert line[line.index("-bind-to") + 1] == "none"
    assert line[line.index("-map-by") + 1] == "slot"
    assert host_file(hosts) == "10.0.0.2 slots=2\n10.0.0.3 slots=2\n"


@given(HOSTS)
def test_every_rank_has_a_slot_and_every_node_its_place(hosts: list[LaunchHost]) -> None:
    line = mpirun_argv(hosts, ["program"], rank_file="/f")
    if len({host.address for host in hosts}) == len(hosts):
        places = line[line.index("--host") + 1].split(",")
        assert places == [f"{host.address}:{host.slots}" for host in hosts]
    else:
        assert line[line.index("--hostfile") + 1] == "/f"
    assert len(rank_places(hosts)) == len(rank_lines(hosts, first_name="own").splitlines())
    assert line[line.index("-np") + 1] == str(sum(host.slots for host in hosts))
    assert not any(" " in word for word in line)


def test_nodes_with_one_address_are_told_apart_rank_by_rank() -> None:
    hosts = [LaunchHost("10.0.0.2", 6205, 1), LaunchHost("10.0.0.3", 6205, 2),
             LaunchHost("10.0.0.2", 6206, 1)]  # fmt: skip
    line = mpirun_argv(hosts, ["program"], rank_file="/f")
    assert line[line.index("-map-by") + 1] == "seq"
    assert rank_lines(hosts, first_name="own") == "own\n10.0.0.3\n10.0.0.3\nown\n"
    assert rank_places(hosts)[3] == ("10.0.0.2", 6206)


WORDS = st.lists(st.text(st.characters(exclude_characters="\0"), max_size=20), max_size=6)


@given(WORDS)
def test_a_daemon_gets_its_arguments_as_they_were_quoted(words: list[str]) -> None:
    # What mpirun's agent is given is one line for a shell; no shell ever sees it here.
    line = " orted " + " ".join(shlex.quote(word) for word in words)
    assert daemon_argv(line) == ["orted", *words]


def test_only_the_daemon_can_be_started() -> None:
    with pytest.raises(ValueError, match="only Open MPI's daemon"):
        daemon_argv("sh -c 'rm -rf /'")
    long = "PATH=/opt/bin:$PATH ; export PATH ; /opt/bin/orted -mca ess 'env'"
    assert daemon_argv(long) == ["orted", "-mca", "ess", "env"]


@pytest.mark.parametrize(
    ("address", "interface"),
    [("127.0.0.1", "lo"), ("127.16.3.4", "lo"), ("192.0.2.7", "192.0.2.7/31")],
)
def test_a_node_is_kept_to_its_own_interface(address: str, interface: str) -> None:
    told = node_variables(address, {}, folder="/own", is_alone=False)
    assert told["OMPI_MCA_btl_tcp_if_include"] == interface
    assert told["OMPI_MCA_oob_tcp_if_include"] == interface
    given = {"OMPI_MCA_btl_tcp_if_include": "ib0"}
    assert (
        node_variables(address, given, folder="/own", is_alone=False)["OMPI_MCA_btl_tcp_if_include"]
        == "ib0"
    )


def test_a_rank_gets_what_open_mpi_says_of_it_and_nothing_of_its_stand_in() -> None:
    environ = {
        "OMPI_COMM_WORLD_RANK": "1",
        "PMIX_SERVER_URI3": "x",
        "OMPI_COMMAND": "python",
        "PATH": "/bin",
        "TRAINWRIGHT_LAUNCH": "/x",
    }
    assert rank_variables(environ) == {"OMPI_COMM_WORLD_RANK": "1", "PMIX_SERVER_URI3": "x"}


def test_a_machine_without_open_mpi_is_told_what_to_install(tmp_path: Path) -> None:
    with pytest.raises(PrepareError, match="openmpi-bin"):
        check_programs(["mpirun"], str(tmp_path))
    (tmp_path / "mpirun").touch(mode=0o755)
    check_programs(["mpirun"], f"/nowhere:{tmp_path}")
