"""Named places where a crash would hurt most, so that tests can have one exactly there.

Without ``TRAINWRIGHT_CRASH_FILE`` in the environment, as everywhere but in tests, `reached` does
nothing. With it, the process that first reaches the place whose name the file holds ends as if by
``kill -9``, or with ``stop `` before the name stands still until it gets SIGCONT; the file is
renamed to ``….reached`` before, so that it happens once.
"""

import os
import signal
import threading
from collections.abc import Callable
from enum import StrEnum
from pathlib import Path


class CrashPoint(StrEnum):
    """The places; what has just been done, and what has not."""

    # The API
    REQUEST_UNCOMMITTED = "request-uncommitted"
    """A request has been worked on, nothing of it is committed."""
    RUN_UNCOMMITTED = "run-uncommitted"
    """A run has been written, its transaction has not been committed."""
    COMMITTED = "committed"
    """A transaction has been committed, nobody has been told; anywhere."""
    UPLOAD_HASHED = "upload-hashed"
    """An upload's digest is written down, its bytes have not been moved."""
    UPLOAD_PLACED = "upload-placed"
    """An upload's bytes are in the store, no row says so."""
    UPLOAD_JOINED = "upload-joined"
    """An upload's parts are one object in the store, no row says so."""
    OBJECT_WRITTEN = "object-written"
    """An object's bytes are written and sealed under another name."""
    OBJECT_PLACED = "object-placed"
    """An object is in its place, nobody knows."""

    # Every reconciler
    LEASE_TAKEN = "lease-taken"
    """A row has been leased, nothing has been done."""
    RECONCILED = "reconciled"
    """Everything has been done, the lease has not been given back."""

    # Runs
    DATA_CHECKED = "data-checked"
    PLAN_MADE = "plan-made"
    """It has been decided who runs where, nothing is written."""
    NODE_STARTING = "node-starting"
    NODE_STARTED = "node-started"
    """A node runs, its row does not say so."""
    NODE_STOPPED = "node-stopped"
    """A node of a cancelled run has been told to stop."""
    NODE_REMOVED = "node-removed"
    """A node is gone, its row does not say so."""
    ATTEMPT_GIVEN_UP = "attempt-given-up"
    """The next attempt has been called for in a transaction that is not committed."""
    LOGS_STORED = "logs-stored"
    """Logs are objects, the run has not ended."""
    RUN_ENDING = "run-ending"
    """Outputs and end are written in a transaction that is not committed."""

    # Environments
    BUILD_BEGUN = "build-begun"
    BUILD_UNMARKED = "build-unmarked"
    """All of an environment is installed, nothing says that it is whole."""
    BUILD_MARKED = "build-marked"
    """An environment is whole, its row does not say so."""

    # Data, models, deployments, searches
    DATASET_FETCHED = "dataset-fetched"
    MODEL_INSPECTED = "model-inspected"
    CAPTURE_NAMED = "capture-named"
    """The node that is to load a model has a name and a row, it is not there."""
    CAPTURE_STARTED = "capture-started"
    """It runs, its row does not say so."""
    CAPTURE_READ = "capture-read"
    """What became of the model has been read, nothing of it is written."""
    CAPTURE_REMOVED = "capture-removed"
    """The node is gone, its row does not say so."""
    SCORING_SUBMITTED = "scoring-submitted"
    """The run of a batch scoring has been written in a transaction that is not committed."""
    SCORING_COUNTED = "scoring-counted"
    """The rows that a batch scoring predicted have been counted, its end is not written."""
    SCORING_ENDING = "scoring-ending"
    """Its end and its dataset version are written in a transaction that is not committed."""
    VOLUME_FILLED = "volume-filled"
    """A volume holds the content of an input, its row does not say so."""
    VOLUME_REMOVED = "volume-removed"
    """A volume is gone, its row is not."""
    REPLICA_WRITTEN = "replica-written"
    """A replica's row is there, the replica is not."""
    REPLICA_STARTED = "replica-started"
    REPLICA_REMOVED = "replica-removed"
    TRIALS_PROPOSED = "trials-proposed"
    TRIAL_UNCOMMITTED = "trial-uncommitted"
    """A trial's run has been written in a transaction that is not committed."""

    # What is cleared away
    LEAK_REMOVED = "leak-removed"
    NAMES_DELETED = "names-deleted"
    """Bytes that nothing refers to have lost their names, and are still there."""
    OBJECTS_SET_ASIDE = "objects-set-aside"
    """They have left their place, and are not deleted."""


FILE_VARIABLE = "TRAINWRIGHT_CRASH_FILE"


def _nothing(point: CrashPoint) -> None:
    """Do nothing: nobody asked for a crash."""


def _crash_at(file: Path) -> Callable[[CrashPoint], None]:
    def crash_if_asked(point: CrashPoint) -> None:
        try:
            number = {
                str(point): signal.SIGKILL,
                f"stop {point}": signal.SIGSTOP,
            }.get(file.read_text())
            if number is None:
                return
            # One process alone can rename it.
            file.rename(f"{file}.reached")
        except FileNotFoundError:
            return
        # To this thread: sent to the process, another may take it, and this one goes on a little.
        signal.pthread_kill(threading.get_ident(), number)

    return crash_if_asked


_file = os.environ.get(FILE_VARIABLE)
reached: Callable[[CrashPoint], None] = _crash_at(Path(_file)) if _file else _nothing
"""Call it with the place that the process has come to."""
