"""Where containers reach the machine that their engine runs on."""

import sys

from app.providers.base import ProviderError
from app.providers.docker.engine import EngineAddress, engine
from app.providers.docker.networks import first_address


def gateway_address(url: str) -> str:
    """The engine's own address on its default bridge network.

    Raises:
        ProviderError: the engine cannot be asked.
    """
    with engine(EngineAddress(url)) as client:
        return first_address(client.inspect_network("bridge"))


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
