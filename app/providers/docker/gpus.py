"""How many GPUs an engine says that its machine has."""

from collections.abc import Mapping, Sequence
from typing import Any

_KINDS = ("gpu", "nvidia-gpu", "nvidia.com/gpu")
_DEVICE = "nvidia.com/gpu="


def count(info: Mapping[str, Any]) -> int:
    """GPUs in what ``GET /info`` of an engine says.

    From API 1.50 on, engines list the devices for which their machine has a CDI specification
    (``nvidia-ctk cdi generate``); each GPU is there by its number, and by other names too.
    """
    devices = [str(device.get("ID", "")) for device in info.get("DiscoveredDevices") or []]
    numbers = {
        device.removeprefix(_DEVICE)
        for device in devices
        if device.startswith(_DEVICE) and device.removeprefix(_DEVICE).isdecimal()
    }
    return max(len(numbers), count_generic(info.get("GenericResources") or []))


def count_generic(resources: Sequence[Mapping[str, Any]]) -> int:
    """GPUs among the generic resources that an operator has named (``node-generic-resources``)."""
    found = 0
    for resource in resources:
        named, counted = resource.get("NamedResourceSpec"), resource.get("DiscreteResourceSpec")
        if named and named.get("Kind", "").lower() in _KINDS:
            found += 1
        if counted and counted.get("Kind", "").lower() in _KINDS:
            found += int(counted.get("Value", 0))
    return found
