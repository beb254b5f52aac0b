"""What Open MPI starts: the agent that asks other runners for daemons, and stand-ins for ranks."""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from typing import Any

from workers.runner.calls import CONTACT_VARIABLE, Ending, call
from workers.runner.gloo import rendezvous
from workers.runner.mpi_line import rank_variables


def agent(arguments: list[str]) -> int:
    """Have another node's runner start the daemon of that node; ``[host, command…]``.

    Returns its exit code, and passes on what it prints.
    """
    contact = _contact()
    host, command = arguments[0], " ".join(arguments[1:])
    if host not in contact["places"]:
        return _say(f"{host} is no node of this run")
    return _ask(contact["places"][host], contact, {"want": "daemon", "command": command})


def rank(arguments: list[str]) -> int:
    """Stand in for a rank: have its node's runner start it, and end as it does."""
    contact = _contact()
    number = int(os.environ["OMPI_COMM_WORLD_RANK"])
    variables = rank_variables(dict(os.environ))
    wanted = {"want": "rank", "rank": number, "variables": variables}
    return _ask(contact["ranks"][number], contact, wanted)


PROGRAMS = {"agent": agent, "rank": rank, "rendezvous": rendezvous}


def main(arguments: list[str]) -> int:
    """Run the program of that name, and return its exit status."""
    return PROGRAMS[arguments[0]](arguments[1:])


def _contact() -> dict[str, Any]:
    with open(os.environ[CONTACT_VARIABLE], encoding="utf-8") as file:
        contact: dict[str, Any] = json.load(file)
    return contact


def _ask(place: list[Any], contact: dict[str, Any], wanted: dict[str, Any]) -> int:
    address, port = place
    try:
        ending = call((address, port), contact["secret"], wanted, on_output=_pass_on)
    except OSError as error:
        return _say(f"the runner at {address} cannot be reached: {error}")
    if ending is None:
        return _say(f"the runner at {address} went away")
    return _end_like(ending)


def _pass_on(data: bytes) -> None:
    sys.stderr.buffer.write(data)
    sys.stderr.buffer.flush()


def _end_like(ending: Ending) -> int:
    if ending.signal is None:
        return 1 if ending.exit_code is None else ending.exit_code
    # As it ended, so that what mpirun says is true; a core of this program would mislead.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if ending.signal not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(ending.signal, signal.SIG_DFL)
    os.kill(os.getpid(), ending.signal)
    return 128 + ending.signal


def _say(text: str) -> int:
    sys.stderr.write(f"trainwright: {text}\n")
    return 1
