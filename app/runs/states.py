"""The states of a run and the one table of transitions."""

from enum import StrEnum


class Status(StrEnum):
    """States of a run, as scripts and clients of the v1 contract know them."""

    NOT_STARTED = "NotStarted"
    STARTING = "Starting"
    PREPARING = "Preparing"
    QUEUED = "Queued"
    RUNNING = "Running"
    FINALIZING = "Finalizing"
    CANCEL_REQUESTED = "CancelRequested"
    COMPLETED = "Completed"
    FAILED = "Failed"
    CANCELED = "Canceled"
    NOT_RESPONDING = "NotResponding"


TERMINAL = frozenset({Status.COMPLETED, Status.FAILED, Status.CANCELED})

_ENDS = frozenset({Status.CANCEL_REQUESTED, Status.FAILED})

TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.NOT_STARTED: frozenset({Status.STARTING}),
    Status.STARTING: _ENDS | {Status.PREPARING},
    Status.PREPARING: _ENDS | {Status.QUEUED},
    Status.QUEUED: _ENDS | {Status.RUNNING, Status.NOT_RESPONDING},
    Status.RUNNING: _ENDS | {Status.FINALIZING, Status.NOT_RESPONDING},
    Status.FINALIZING: frozenset(
        {Status.COMPLETED, Status.FAILED, Status.CANCELED, Status.NOT_RESPONDING}
    ),
    # The one state from which a run may go back: its node may return, or a new attempt begin.
    Status.NOT_RESPONDING: _ENDS | {Status.QUEUED, Status.RUNNING, Status.FINALIZING},
    Status.CANCEL_REQUESTED: frozenset({Status.CANCELED}),
    Status.COMPLETED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
}
"""Status → statuses that may follow (contract: forward only, NotResponding excepted)."""

TRACKED = "tracked"
"""The kind of a run that is only recorded here; the others are of kind ``job``."""

TRACKED_TRANSITIONS: dict[Status, frozenset[Status]] = {
    Status.NOT_STARTED: TERMINAL | {Status.RUNNING, Status.STARTING},
    # Announced and not begun yet.
    Status.STARTING: TERMINAL | {Status.RUNNING},
    Status.RUNNING: TERMINAL | {Status.STARTING},
    # Its client may take it up again, or correct what it said.
    **{end: (TERMINAL - {end}) | {Status.RUNNING, Status.STARTING} for end in TERMINAL},
}
"""The same for a run of kind ``tracked``: nothing here executes it, so nothing here contradicts
what its client says; it never waits for nodes and never is where only a node can bring it."""


class BlockerCode(StrEnum):
    """Why a run is not running yet."""

    PREPARING = "preparing"
    IMAGE_BUILDING = "image_building"
    IMAGE_FAILED = "image_failed"
    DATA_UNREACHABLE = "data_unreachable"
    WAITING_FOR_PLAN = "waiting_for_plan"
    LARGER_THAN_CLUSTER = "larger_than_cluster"
    LARGER_THAN_HOSTS = "larger_than_hosts"
    CLUSTER_DISABLED = "cluster_disabled"
    QUOTA = "quota"
    BUDGET = "budget"
    PREEMPTING = "preempting"
    NO_CAPACITY_NOW = "no_capacity_now"
    BEHIND_RUN = "behind_run"
    NODE_STARTING = "node_starting"
    INPUTS_CACHING = "inputs_caching"
    PROVIDER_UNAVAILABLE = "provider_unavailable"
    NOT_WRITTEN = "not_written"
    FAILING = "failing"
