"""Where containers reach the machine that their engine runs on."""

import ipaddress
import sys

from app.providers.base import ProviderError
from app.providers.docker.engine import engine


def gateway_address(url: str) -> str:
    """The engine's own address on its default bridge network.

    Raises:
        ProviderError: the engine cannot be asked.
    """
    with engine(url) as client:
        found = client.inspect_network("bridge")["IPAM"]["Config"][0]
    # Older engines name only the subnet; its first address is the gateway then.
    subnet = ipaddress.ip_network(found["Subnet"], strict=False)
    return str(found.get("Gateway") or next(subnet.hosts()))


def main(url: str) -> int:
    """Print the address, for a caller that wants to stay free of the engine's client."""
    try:
        sys.stdout.write(gateway_address(url) + "\n")
    except ProviderError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
