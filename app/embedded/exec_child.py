"""Become one supervised child: tie its life to the supervisor's, drop root, then execute.

Run as a script by the supervisor (``python -I -S exec_child.py '<json>' argv…``), never imported:
setting these things here instead of in ``preexec_fn`` keeps Python code out of the moment between
fork and exec. The JSON object has the keys of :class:`app.embedded.children.ExecOptions`.
Standard library alone, because no site-packages are set up.
"""

import ctypes
import json
import os
import signal
import sys

PR_SET_PDEATHSIG = 1
PR_SET_SECUREBITS = 28
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
SECBIT_NO_SETUID_FIXUP = 1 << 2
CAP_DAC_OVERRIDE = 1
LINUX_CAPABILITY_VERSION_3 = 0x20080522


def main() -> None:
    """Apply the options in ``argv[1]`` and execute ``argv[2:]``; exit status 127 when it cannot."""
    options = json.loads(sys.argv[1])
    argv = sys.argv[2:]
    if options["uid"] is not None:
        try:
            _drop_root(options["uid"], options["gid"], keep_file_access=options["keep_file_access"])
        except OSError as error:
            sys.stderr.write(_no_account(options, error))
            os._exit(127)
    if sys.platform == "linux":
        # After the drop of root: a change of credentials clears the setting.
        _prctl(PR_SET_PDEATHSIG, int(options["death_signal"]))
        if os.getppid() != options["supervisor_pid"]:
            os.kill(os.getpid(), signal.SIGKILL)
    try:
        os.execv(argv[0], argv)
    except OSError as error:
        sys.stderr.write(f"cannot execute {argv[0]}: {error.strerror}\n")
        os._exit(127)


def _no_account(options: "dict[str, int]", error: OSError) -> str:
    advice = "start as an ordinary user"
    if options["keep_file_access"]:
        advice += ", or put program and data where every folder above them may be entered by all"
    return f"cannot run as user id {options['uid']} ({error}): {advice}.\n"


def _drop_root(uid: int, gid: int, *, keep_file_access: bool) -> None:
    """Give up root for `uid` and `gid`.

    With `keep_file_access` the one capability to pass closed folders stays, so that the program
    works in a folder of root's that others cannot enter, and no folder's mode has to be changed.
    NO_SETUID_FIXUP makes access(2), with which PostgreSQL looks for its own binary, honour it.
    """
    if keep_file_access:
        _prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP)
    os.setgroups([])
    os.setresgid(gid, gid, gid)
    os.setresuid(uid, uid, uid)
    if keep_file_access:
        _keep_only(CAP_DAC_OVERRIDE)
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_DAC_OVERRIDE)


def _keep_only(capability: int) -> None:
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    bits = 1 << capability
    # Effective, permitted, inheritable: first of the low 32 capabilities, then of the high ones.
    data = (ctypes.c_uint32 * 6)(bits, bits, bits, 0, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset failed")


def _prctl(option: int, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    padded = [ctypes.c_ulong(value) for value in (*arguments, 0, 0, 0, 0)[:4]]
    if libc.prctl(option, *padded) != 0:
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


if __name__ == "__main__":
    main()
