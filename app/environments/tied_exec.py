"""Execute a command that dies with the process that started it.

Run as a script (``python -I -S tied_exec.py PARENT_PID argv…``), never imported: doing this
between fork and exec in the starting process is not safe in one that has threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Tie this process to ``argv[1]``, then become ``argv[2:]``; exit status 127 when it cannot."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != int(sys.argv[1]):
            os._exit(127)
    try:
        os.execv(sys.argv[2], sys.argv[2:])
    except OSError as error:
        sys.stderr.write(f"cannot execute {sys.argv[2]}: {error.strerror}\n")
        os._exit(127)


if __name__ == "__main__":
    main()
