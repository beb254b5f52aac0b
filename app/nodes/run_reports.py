"""What a run's node reports, in the form in which it is kept."""

import ipaddress
import signal
from typing import Any

from app.kernel.errors import invalid_field
from app.runs import gang
from app.runtimes.tasks import on_node
from app.tables.run import Run, RunNode


def ready_place(details: dict[str, Any]) -> tuple[str | None, list[int]]:
    """Address and ports out of the event ``ready``.

    Raises:
        Invalid: they are none.
    """
    address, ports = details.get("address"), details.get("ports") or []
    if address is not None:
        try:
            ipaddress.ip_address(address)
        except ValueError as error:
            raise invalid_field("/address", "address_invalid", str(error)) from error
    if not all(isinstance(port, int) and 0 < port < 65536 for port in ports):
        raise invalid_field("/ports", "port_invalid", "A port is a number up to 65535.")
    return address, ports


def noted_end(result: dict[str, Any] | None, details: dict[str, Any]) -> dict[str, Any]:
    """The node's result with the end of one of its processes, others of which go on."""
    before = result or {}
    end = {key: details.get(key) for key in ("exit_code", "stopped", "ended_at")}
    ended = {**before.get("ended", {}), str(details.get("place")): end}
    return {**before, "ended": ended}


def exit_result(run: Run, node: RunNode, details: dict[str, Any]) -> dict[str, Any]:
    """The node's result when all of its processes have ended, each with its rank and role."""
    tasks = on_node(gang.tasks_of(run), node.node_index)
    processes = [_process(item) for item in details.get("processes", [])]
    for task, process in zip(tasks, processes, strict=False):
        process |= {"rank": task.rank, "role": task.role}
        if gang.is_gang(run):
            process["role_index"] = task.index
    result = {"processes": processes, "reason": details.get("reason")}
    if helpers := details.get("helpers"):
        result["helpers"] = [_process(item) for item in helpers]
    return result


def _process(item: dict[str, Any]) -> dict[str, Any]:
    number = item.get("signal")
    name = signal.Signals(number).name if isinstance(number, int) and number else None
    return {**item, "signal": name}
