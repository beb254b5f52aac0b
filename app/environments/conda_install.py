"""Install conda packages into a new prefix: a script for the build of an image, never imported.

Run as ``python conda_install.py FILE``, where the JSON file names ``prefix``, ``channel_alias``
(where channels are that are given by name; ends with a slash), ``channels`` and ``specifications``.
It solves and links by py-rattler, whose wheel is all that it needs, and prints what it installs.
"""

import asyncio
import json
import os
import sys
from datetime import timedelta
from pathlib import Path

from rattler import (
    Channel,
    ChannelConfig,
    MatchSpec,
    Platform,
    VirtualPackage,
    install,
    solve,
)
from rattler.exceptions import FetchRepoDataError, GatewayError, SolverError

_SOLVE_TIMEOUT = timedelta(minutes=10)


async def main() -> int:
    """Install what the file says; status 1 where the packages cannot be had."""
    wanted = json.loads(Path(sys.argv[1]).read_text())
    config = ChannelConfig(channel_alias=wanted["channel_alias"])
    try:
        records = await solve(
            sources=[Channel(name, config) for name in wanted["channels"]],
            specs=[MatchSpec(text) for text in wanted["specifications"]],
            platforms=[Platform.current(), "noarch"],
            virtual_packages=VirtualPackage.detect(),
            timeout=_SOLVE_TIMEOUT,
        )
    except (SolverError, GatewayError, FetchRepoDataError) as error:
        print(f"Cannot solve the request:\n{error}")  # noqa: T201 - this is the build's output
        return 1
    for record in records:
        print(f"Installing {record.url}")  # noqa: T201 - this is the build's output
    await install(records, target_prefix=wanted["prefix"], show_progress=False)
    return 0


if __name__ == "__main__":
    status = asyncio.run(main())
    sys.stdout.flush()
    # The library's threads may still run, and crash an interpreter that shuts down.
    os._exit(status)
