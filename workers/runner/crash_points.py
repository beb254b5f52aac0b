"""Named places in a runner where tests have it end as if by ``kill -9``: see `reached`."""

from __future__ import annotations

import os
import signal

ORDER_TAKEN = "runner-order-taken"
SCRIPT_STARTED = "runner-script-started"
"""The script runs, nobody has been told."""
SCRIPT_ENDED = "runner-script-ended"
"""The script has ended, nobody has been told."""
OUTPUTS_PUBLISHED = "runner-outputs-published"
"""The outputs are delivered, the end is not reported."""
END_REPORTED = "runner-end-reported"
"""Everything is reported, the runner has not ended."""

POINTS = (ORDER_TAKEN, SCRIPT_STARTED, SCRIPT_ENDED, OUTPUTS_PUBLISHED, END_REPORTED)

_file = os.environ.get("TRAINWRIGHT_CRASH_FILE")


def reached(point: str) -> None:
    """End the process if the file that the environment names holds this name, and once alone.

    Without ``TRAINWRIGHT_CRASH_FILE``, as everywhere but in tests, this does nothing.
    """
    if not _file:
        return
    try:
        with open(_file, encoding="utf-8") as asked:
            if asked.read() != point:
                return
        os.rename(_file, _file + ".reached")
    except FileNotFoundError:
        return
    os.kill(os.getpid(), signal.SIGKILL)
