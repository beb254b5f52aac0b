"""Names of this node's network interfaces."""

from __future__ import annotations

import fcntl
import socket
import struct

_SIOCGIFADDR = 0x8915
_SIOCGIFNETMASK = 0x891B


def interface_name(address: str) -> str | None:
    """Return the interface that has an address; None when there is none such.

    The loopback interface has all of 127.0.0.0/8, though only one of them is written on it.
    """
    wanted = _number(address)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            own = _ask(probe, name, _SIOCGIFADDR)
            mask = _ask(probe, name, _SIOCGIFNETMASK)
            if own is None or mask is None:
                continue
            is_loopback = own >> 24 == 127
            if own == wanted or (is_loopback and own & mask == wanted & mask):
                return name
    return None


def _ask(probe: socket.socket, name: str, request: int) -> int | None:
    packed = struct.pack("256s", name.encode()[:15])
    try:
        answer = fcntl.ioctl(probe.fileno(), request, packed)
    except OSError:
        return None  # it has no IPv4 address
    return int.from_bytes(answer[20:24], "big")


def _number(address: str) -> int:
    return int.from_bytes(socket.inet_aton(address), "big")
